//! Rule `cork`: `TCP_CORK` on and off around bytes that are in custody is
//! not said to the kernel.
//!
//! Matches: `setsockopt(TCP_CORK, 1)` on a stream that could be deferred, and
//! the `setsockopt(TCP_CORK, 0)` that ends it. Makes of it: a mark. While it
//! stands, writes go into custody and what is handed over carries `MSG_MORE`;
//! the uncork only pushes if the kernel holds something back.
//!
//! Why no observer can tell: corking asks the kernel to gather bytes into
//! full segments, and gathering them here does the same. `getsockopt` answers
//! from the mark. What was sent before the cork goes out before the mark is
//! set: it is not under it. Before the descriptor is shared in a way that outlives the
//! mark (dup, SCM_RIGHTS) the kernel is told.

use super::{About, Rule};
use crate::slot::bits;
use esca_abi::stats::Counter;

/// Name and counter.
pub const ABOUT: About = About {
    rule: Rule::Cork,
    name: "cork",
    counter: Counter::RuleCork,
};

/// What an uncork must do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Uncork {
    /// The kernel was never told and holds nothing back: nothing.
    Nothing,
    /// The kernel holds something back: make the call.
    Push,
}

/// Whether a stream in `state` may be corked by a mark alone.
pub(crate) fn may_mark(state: u64) -> bool {
    state & (bits::KIND | bits::NONBLOCK) == bits::STREAM | bits::NONBLOCK
        && state & (bits::NO_PROMISE & !bits::OWNER) == 0
}

/// What the end of a mark needs.
pub(crate) fn uncork(state: u64) -> Uncork {
    if state & bits::HELD_BACK != 0 && state & bits::OWNER == 0 {
        Uncork::Push
    } else {
        Uncork::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_promising_stream_is_marked() {
        let good = bits::STREAM | bits::NONBLOCK;
        assert!(may_mark(good));
        assert!(!may_mark(bits::STREAM));
        assert!(!may_mark(good | bits::RESIDUE));
        assert!(!may_mark(good | bits::CORK_REAL));
        assert!(!may_mark(bits::TCP | bits::NONBLOCK));
    }

    #[test]
    fn held_back_bytes_are_pushed() {
        assert_eq!(uncork(bits::STREAM), Uncork::Nothing);
        assert_eq!(uncork(bits::HELD_BACK), Uncork::Push);
        let owned = bits::HELD_BACK | crate::slot::owner_bits(3);
        assert_eq!(uncork(owned), Uncork::Nothing);
    }
}
