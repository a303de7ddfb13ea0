//! The program's memory: whether it can be read or written, asked of the
//! kernel, because a touch of what is not there would end the program where a
//! system call says EFAULT.
//!
//! Asking costs a system call for each page. The page that the stack pointer
//! is on needs no question: what a caller passes by a local variable is
//! nearly always there.

use std::arch::asm;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// An address below this is no buffer: the kernel decides.
const LOWEST: usize = 4096;
/// Addresses from here on are not the program's, or only where it asked for
/// them: the kernel decides. The last 64 KiB are left to it too, so that a
/// small buffer that begins below ends below.
const END: usize =
    (1 << if cfg!(target_arch = "aarch64") {
        48
    } else {
        47
    }) - (64 << 10);
/// Bytes that one call moves (`MAX_RW_COUNT` in the kernel).
pub(crate) const MOST: usize = i32::MAX as usize & !(PAGE - 1);
/// The smallest page there is.
const PAGE: usize = 4096;

/// Whether a buffer at `at` is where buffers can be. Says nothing of whether
/// anything is there.
#[inline(always)]
pub(crate) fn is_plausible(at: usize) -> bool {
    at.wrapping_sub(LOWEST) < END - LOWEST
}

/// Whether the kernel would take `at` and `len` for a range of the program's.
#[inline(always)]
pub(crate) fn is_range(at: usize, len: usize) -> bool {
    at < END && len <= END - at && (len == 0 || at >= LOWEST)
}

/// The word of `at`'s page that a probe asks for: a page is there as a whole.
fn word(at: usize) -> usize {
    at & !7
}

/// Pages of a range, by an address in each.
fn pages(at: usize, len: usize) -> impl Iterator<Item = usize> {
    let last = at.saturating_add(len.saturating_sub(1));
    std::iter::once(at)
        .chain((at / PAGE + 1..=last / PAGE).map(|page| page * PAGE))
        .map(word)
}

/// Whether the `len` bytes at `at` can be read.
#[cold]
pub(crate) fn is_readable(at: usize, len: usize) -> bool {
    // The kernel copies the set of signals before it looks at `how`, and there
    // is no such `how`: nothing is changed (kernel/signal.c).
    const NO_HOW: usize = 99;
    let there = |at| {
        // SAFETY: changes nothing.
        let r = unsafe { call(libc::SYS_rt_sigprocmask, [NO_HOW, at, 0, 8, 0, 0]) };
        r == -(libc::EINVAL as isize)
    };
    is_range(at, len) && pages(at, len).all(there)
}

/// Whether the `len` bytes at `at` can be read and written.
#[cold]
fn asks_writable(at: usize, len: usize) -> bool {
    // Adds nothing to the word, atomically, and wakes nobody: there is no
    // waiter on either word.
    const WAKE_OP: usize = (libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG) as usize;
    const FUTEX_OP_ADD: usize = 1;
    const ADD_NOTHING: usize = (FUTEX_OP_ADD) << 28;
    let own = 0_u32;
    let there = |at| {
        let own = std::ptr::from_ref(&own).addr();
        // SAFETY: changes no memory, and the first word is a local one.
        unsafe { call(libc::SYS_futex, [own, WAKE_OP, 0, 0, at, ADD_NOTHING]) >= 0 }
    };
    is_range(at, len) && pages(at, len).all(there)
}

/// Whether the kernel may take `len` bytes at `at` for a buffer of the
/// program's. Touches nothing and asks nothing.
#[inline]
#[must_use]
pub fn is_room(at: *const u8, len: usize) -> bool {
    at.addr() < END && len.min(MOST) <= END - at.addr()
}

/// Whether the `len` bytes at `at` can be read: the kernel is asked.
#[must_use]
pub fn can_read(at: *const u8, len: usize) -> bool {
    is_readable(at.addr(), len)
}

/// A page above the stack pointer's own that was found to be there: a stack is
/// not unmapped while it is stood on.
static STACK: AtomicUsize = AtomicUsize::new(0);

/// Whether a small object of `len` bytes at `at` can be read and written.
/// Free where it is a local variable of the caller.
#[inline]
pub(crate) fn is_writable(at: usize, len: usize) -> bool {
    let (first, last) = (at / PAGE, at.wrapping_add(len).wrapping_sub(1) / PAGE);
    let here = stack_pointer() / PAGE;
    first == here && last == here || above(first, last, here, at, len)
}

#[cold]
fn above(first: usize, last: usize, here: usize, at: usize, len: usize) -> bool {
    let next = last == here + 1 && (first == here || first == last);
    if next && STACK.load(Relaxed) == last {
        return true;
    }
    let there = asks_writable(at, len);
    if there && next {
        STACK.store(last, Relaxed);
    }
    there
}

/// The first int of an option of `len` bytes; `None` where the kernel is to
/// say what it thinks of it.
#[inline]
#[must_use]
pub fn option_int(value: *const libc::c_void, len: libc::socklen_t) -> Option<i32> {
    let sane = len as usize >= size_of::<i32>() && len <= i32::MAX as u32;
    if !sane || !(is_local(value.addr()) || is_readable(value.addr(), size_of::<i32>())) {
        return None;
    }
    // SAFETY: readable, as was just found.
    Some(unsafe { value.cast::<i32>().read_unaligned() })
}

/// Whether an int at `at` is a local variable of the caller, for certain.
#[inline]
fn is_local(at: usize) -> bool {
    let here = stack_pointer() / PAGE;
    at / PAGE == here && (at + 3) / PAGE == here
}

/// The stack pointer: its page is there.
#[inline(always)]
fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    sp
}

/// A system call past the C library, whose `syscall` is interposed.
///
/// # Safety
/// Those of the call.
unsafe fn call(nr: libc::c_long, a: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: the kernel's convention; the caller's promise for the call.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!(
            "syscall",
            inlateout("rax") nr as isize => answer,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
        #[cfg(target_arch = "aarch64")]
        asm!(
            "svc 0",
            in("x8") nr, inlateout("x0") a[0] as isize => answer,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack),
        );
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null_mut;

    /// A page that is there, and one behind it that cannot be touched.
    fn edge(protection: i32) -> usize {
        // SAFETY: a fresh mapping.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let at = libc::mmap(null_mut(), 2 * PAGE, protection, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED);
            let next = at.byte_add(PAGE);
            assert_eq!(libc::mprotect(next, PAGE, libc::PROT_NONE), 0);
            at.addr()
        }
    }

    #[test]
    fn what_is_not_there_is_known_without_a_touch() {
        let page = edge(libc::PROT_READ | libc::PROT_WRITE);
        for ask in [is_readable, is_writable] {
            assert!(ask(page, 1) && ask(page, PAGE) && ask(page + PAGE - 1, 1));
            assert!(!ask(page, PAGE + 1) && !ask(page + PAGE - 4, 8));
            assert!(!ask(page + PAGE, 1) && !ask(page - 8 * PAGE, 9 * PAGE + 1));
            for bad in [0, 1, 4095, END, 1 << 62, usize::MAX, usize::MAX - 7] {
                assert!(!ask(bad, 8), "{bad:x}");
            }
            assert!(!ask(page, usize::MAX) && !ask(page, isize::MAX as usize));
        }
        let constant = edge(libc::PROT_READ);
        assert!(is_readable(constant, 8) && !is_writable(constant, 8));
    }

    #[test]
    fn asking_changes_nothing() {
        let mut words = [u64::MAX, 0, 7, 1 << 63];
        let at = words.as_mut_ptr().addr();
        assert!(asks_writable(at, 32) && is_readable(at, 32));
        assert_eq!(words, [u64::MAX, 0, 7, 1 << 63]);
        let local = 5_i32;
        assert_eq!(option_int((&raw const local).cast(), 4), Some(5));
        assert_eq!(option_int((&raw const local).cast(), 3), None);
        assert_eq!(option_int((&raw const local).cast(), 1 << 31), None);
        assert_eq!(option_int(std::ptr::null(), 4), None);
    }
}
