//! x86-64: the thread pointer is the word at fs:0.

use std::arch::asm;

/// The calling thread's block.
#[inline(always)]
pub(crate) fn address() -> *const u8 {
    let at;
    // SAFETY: reads what is constant while the thread lives, its pointer and
    // the dynamic linker's offset of the block from there; changes flags only.
    unsafe {
        asm!(
            "mov {at}, qword ptr [rip + esca_thread@GOTTPOFF]",
            "add {at}, qword ptr fs:[0]",
            at = out(reg) at,
            options(pure, nomem, nostack),
        );
    }
    at
}
