//! Rule `merge`: neighbouring writes on one stream leave as one send.
//!
//! Matches: a small write on a non-blocking, connected TCP socket whose
//! bytes, or those of a write before it, are in custody. Makes of it: the
//! bytes are appended, and one send carries all.
//!
//! Why no observer can tell: TCP keeps no write boundaries, the bytes and
//! their order are the same, and a sender that does not push in between may
//! send them in one segment at any time (as Nagle's algorithm does). The
//! writer is told the full count because the bytes are copied, as the
//! kernel's send buffer does; what the kernel then does not take is kept
//! (residue/), and an error is reported by the next call.

use super::{About, Rule};
use esca_abi::stats::Counter;

/// Name and counter.
pub const ABOUT: About = About {
    rule: Rule::Merge,
    name: "merge",
    counter: Counter::RuleMerge,
};

/// Largest single write that is copied; larger ones go out at once, together
/// with what is in custody, without a copy.
pub const WRITE_LIMIT: usize = 16 * 1024;

/// Most bytes of one stream in custody before they are handed over.
pub const STREAM_LIMIT: usize = 64 * 1024;
