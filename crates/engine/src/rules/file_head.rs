//! Rule `file-head`: the bytes before a `sendfile` leave in the same packet
//! train as the file.
//!
//! Matches: a `sendfile` on a stream whose earlier bytes (typically a
//! response's header) are in custody. Makes of it: the bytes are sent with
//! `MSG_MORE`, at once followed by the program's own `sendfile`.
//!
//! Why no observer can tell: `MSG_MORE` only delays the last partial segment
//! until the file's first bytes join it, microseconds later. The program gets
//! the `sendfile`'s own result. A file that takes long to read (a cold disk, a
//! file system over a network) does not hold the head back: the sweeper pushes
//! it within the bound of custody. When the `sendfile` sends nothing (an error,
//! a file that shrank), the held-back segment is pushed at once.

use super::{About, Rule};
use esca_abi::stats::Counter;

/// Name and counter.
pub const ABOUT: About = About {
    rule: Rule::FileHead,
    name: "file-head",
    counter: Counter::RuleFileHead,
};
