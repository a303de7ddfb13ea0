//! aarch64: number in x8, arguments in x0..x4, result in x0.

use std::arch::asm;
use std::ffi::c_void;

/// Makes system call `nr`.
///
/// # Safety
/// The call, with these arguments, breaks no promise of the language.
pub(in crate::sys) unsafe fn syscall(nr: libc::c_long, a: [usize; 5]) -> isize {
    let result;
    // SAFETY: the kernel changes x0 only; the rest is the caller's promise.
    unsafe {
        asm!(
            "svc 0",
            in("x8") nr,
            inlateout("x0") a[0] => result,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4],
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
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "ldp x1, x0, [sp], #16",
            "blr x1",
            "mov x0, xzr",
            "mov x8, #93",
            "svc 0",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone,
            inlateout("x0") flags => result,
            in("x1") at, in("x2") tid, in("x3") tls, in("x4") tid,
        );
    }
    result
}
