//! System calls by the instruction, which no library sees.

use std::arch::asm;

/// A system call of up to five arguments.
///
/// # Safety
/// That of the call.
pub(crate) unsafe fn call(n: i64, a: [i64; 5]) -> i64 {
    let r;
    // SAFETY: the registers of the kernel's calling convention; what the call
    // does to memory is the caller's promise.
    unsafe {
        asm!("syscall", inlateout("rax") n => r, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], lateout("rcx") _, lateout("r11") _);
    }
    r
}

/// Closes a descriptor.
pub(crate) fn close(fd: i32) -> i64 {
    // SAFETY: a descriptor only.
    unsafe { call(libc::SYS_close, [fd.into(), 0, 0, 0, 0]) }
}

/// The bytes that the kernel has taken for a stream.
pub(crate) fn taken(fd: i32) -> Option<u64> {
    let mut info = [0_u8; 216];
    let mut len = info.len() as u32;
    let (at, len) = ((&raw mut info) as i64, (&raw mut len) as i64);
    let a = [
        fd.into(),
        libc::IPPROTO_TCP.into(),
        libc::TCP_INFO.into(),
        at,
        len,
    ];
    // SAFETY: room for so much as the length says.
    let r = unsafe { call(libc::SYS_getsockopt, a) };
    let word = |at: usize| u64::from_ne_bytes(info[at..at + 8].try_into().unwrap_or([0; 8]));
    let unsent = u32::from_ne_bytes(info[144..148].try_into().unwrap_or([0; 4]));
    (r == 0).then(|| word(200) - word(208) + u64::from(unsent))
}
