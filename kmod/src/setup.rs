//! What a process asks of a new context, and the answer.

use crate::walk::{EINVAL, EPROTONOSUPPORT};
use esca_abi::device::{DEFAULT_ENTRIES, MAX_ENTRIES, Setup, VERSION};
use esca_abi::op::{F_KNOWN, Op};

/// Answers `ask` in place: 0, or minus an errno. `opcodes` has a bit for each
/// operation that the module carries out as it is loaded.
pub fn answer(ask: &mut Setup, opcodes: u64) -> i32 {
    let theirs = ask.version;
    ask.version = VERSION;
    if theirs != VERSION {
        return -EPROTONOSUPPORT;
    }
    let entries = match ask.entries {
        0 => DEFAULT_ENTRIES,
        n => n,
    };
    if ask.flags != 0 || entries > MAX_ENTRIES {
        return -EINVAL;
    }
    // What the mapping has room for: whole pages.
    ask.entries = (Setup::bytes(entries) / size_of::<Op>()) as u32;
    ask.entry_size = size_of::<Op>() as u32;
    ask.opcodes = opcodes;
    ask.op_flags = F_KNOWN;
    ask.max_entries = MAX_ENTRIES;
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_version_is_refused_and_told_ours() {
        let mut s = Setup::new(8);
        s.version = VERSION + 1;
        assert_eq!(answer(&mut s, 7), -EPROTONOSUPPORT);
        assert_eq!((s.version, s.opcodes), (VERSION, 0));
    }

    #[test]
    fn sizes_are_whole_pages_within_the_limit() {
        for (asked, given) in [(0, 256), (1, 64), (64, 64), (65, 128), (4096, 4096)] {
            let mut s = Setup::new(asked);
            assert_eq!(answer(&mut s, 7), 0);
            assert_eq!((s.entries, s.entry_size, s.opcodes), (given, 64, 7));
        }
        assert_eq!(answer(&mut Setup::new(4097), 7), -EINVAL);
        assert_eq!(answer(&mut Setup::new(u32::MAX), 7), -EINVAL);
    }

    #[test]
    fn unknown_flags_are_refused() {
        let mut s = Setup::new(0);
        s.flags = 1;
        assert_eq!(answer(&mut s, 7), -EINVAL);
    }
}
