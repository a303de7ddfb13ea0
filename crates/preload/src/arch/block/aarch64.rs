//! aarch64: the thread pointer is tpidr_el0.

use std::arch::asm;

/// The calling thread's block.
#[inline(always)]
pub(crate) fn address() -> *const u8 {
    let at;
    // SAFETY: reads what is constant while the thread lives, its pointer and
    // the dynamic linker's offset of the block from there.
    unsafe {
        asm!(
            "adrp {offset}, :gottprel:esca_thread",
            "ldr {offset}, [{offset}, :gottprel_lo12:esca_thread]",
            "mrs {at}, tpidr_el0",
            "add {at}, {at}, {offset}",
            at = out(reg) at,
            offset = out(reg) _,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    at
}
