//! Rule `nodelay`: `TCP_NODELAY` set to 1 again is not said to the kernel.
//!
//! Matches: `setsockopt(TCP_NODELAY, 1)` on a stream where the program set it
//! before, and nothing is corked, held back or in custody. Makes of it: success.
//!
//! Why no observer can tell: the option is in force already; its one side
//! effect, pushing held-back bytes (tcp(7)), has nothing to push.

use super::{About, Rule};
use crate::slot::bits;
use esca_abi::stats::Counter;

/// Name and counter.
pub const ABOUT: About = About {
    rule: Rule::Nodelay,
    name: "nodelay",
    counter: Counter::RuleNodelay,
};

/// Whether turning it on changes nothing in `state`.
pub(crate) fn is_repeated(state: u64) -> bool {
    const BLOCK: u64 =
        bits::CORK_REAL | bits::CORK_VIRTUAL | bits::HELD_BACK | bits::CLOSING | bits::OWNER;
    state & bits::KIND == bits::STREAM && state & bits::NODELAY != 0 && state & BLOCK == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_repetition() {
        assert!(is_repeated(bits::STREAM | bits::NODELAY));
        assert!(!is_repeated(bits::STREAM));
        let on = bits::STREAM | bits::NODELAY;
        for held in [bits::CORK_REAL, bits::HELD_BACK, crate::slot::owner_bits(0)] {
            assert!(!is_repeated(on | held));
        }
        // Of what is not followed nobody knows what is held back.
        assert!(!is_repeated(bits::PASS | bits::NODELAY));
    }
}
