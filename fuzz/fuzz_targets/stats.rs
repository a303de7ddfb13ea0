//! A statistics file with any content, as another version or somebody else
//! may have left it: it is refused or read without a panic, as JSON that fits
//! the library's buffer and holds the sums.
#![no_main]

use esca_abi::stats::{ALL, Counter, SLOTS, Table, WIDTH};
use libfuzzer_sys::fuzz_target;
use std::mem::offset_of;

/// The library writes its file from a buffer of this size.
const BUFFER: usize = 8192;

fuzz_target!(|content: (&[u8], Vec<(u16, u8, u64)>)| {
    let (head, counters) = content;
    let mut bytes = vec![0u64; size_of::<Table>().div_ceil(8) + 8];
    let base = bytes.as_mut_ptr().cast::<u8>();
    let base = base.wrapping_add(base.align_offset(64));
    // SAFETY: the buffer is a table's size longer than its aligned start, and
    // any bytes are a table: every field is an atomic number.
    let table = unsafe {
        let n = head.len().min(offset_of!(Table, slots));
        std::ptr::copy_nonoverlapping(head.as_ptr(), base, n);
        for (slot, index, value) in &counters {
            let slot = usize::from(*slot) % SLOTS * WIDTH;
            let at = offset_of!(Table, slots) + (slot + usize::from(*index) % WIDTH) * 8;
            base.add(at).cast::<u64>().write(*value);
        }
        &*base.cast::<Table>()
    };
    // Either answer will do.
    let _ = table.valid();
    let mut text = String::new();
    esca_abi::json::write(table, &mut text).expect("a String takes everything");
    assert!(text.len() <= BUFFER, "{} bytes", text.len());
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let total = |c: Counter| {
        let (group, name) = esca_abi::stats::NAMES[c as usize];
        json[group][name].as_u64().expect("a number")
    };
    for c in ALL {
        assert_eq!(total(*c), table.total(*c));
    }
    // Slots are handed out whatever the counter of them says.
    for _ in 0..3 {
        table.claim().add(Counter::Made, 1);
    }
});
