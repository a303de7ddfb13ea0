//! x86-64: number in rax, arguments in rdi, rsi, rdx, r10, r8, r9.

use std::arch::asm;
use std::ffi::c_void;

/// Makes system call `nr`.
///
/// # Safety
/// The call, with these arguments, breaks no promise of the language.
pub(in crate::sys) unsafe fn syscall(nr: libc::c_long, a: [usize; 5]) -> isize {
    let result;
    // SAFETY: the kernel changes rax, rcx and r11 only; the rest is the
    // caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// clone(2): the new thread runs `main(arg)` on the stack that ends at `top`
/// and then exits.
///
/// # Safety
/// `top` is 16-aligned with room below; `tls` and `tid` are valid for as long
/// as the thread runs; `main` needs nothing that the C library sets up for a
/// thread.
pub(in crate::sys) unsafe fn clone(
    flags: usize,
    top: *mut u8,
    tls: *mut u8,
    tid: *mut u32,
    main: extern "C" fn(*mut c_void),
    arg: *mut c_void,
) -> isize {
    let result;
    // SAFETY: the parent goes on at 2 with nothing changed but what is named;
    // the child never leaves this block. The two words below top are the
    // caller's room.
    unsafe {
        let at = top.cast::<usize>().sub(2);
        at.write(main as usize);
        at.add(1).write(arg.expose_provenance());
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "pop rax",
            "pop rdi",
            "call rax",
            "xor edi, edi",
            "mov eax, 60",
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags, in("rsi") at, in("rdx") tid, in("r10") tid, in("r8") tls,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}
