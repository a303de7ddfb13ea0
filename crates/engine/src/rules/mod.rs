//! The rewriting rules: one file each, and this one list.
//!
//! A rule's file says what it matches, what it makes of it, and why no
//! observer can tell. To add one: its file, a line in [`Rule`] and [`LIST`],
//! and a counter of the same name in `esca_abi::stats`.

pub mod cork;
pub mod drained;
pub mod file_head;
pub mod merge;
pub mod nodelay;
pub mod small_file;
pub mod socket_calls;

use esca_abi::stats::Counter;

/// A rule's number: its bit in a rule set, its place in [`LIST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Rule {
    /// See [`merge`].
    Merge = 0,
    /// See [`file_head`].
    FileHead = 1,
    /// See [`small_file`].
    SmallFile = 2,
    /// See [`cork`].
    Cork = 3,
    /// See [`nodelay`].
    Nodelay = 4,
    /// See [`drained`].
    Drained = 5,
    /// See [`socket_calls`].
    SocketCalls = 6,
}

/// A rule's name and counter.
pub struct About {
    /// Which one.
    pub rule: Rule,
    /// The name in `ESCA_RULES`.
    pub name: &'static str,
    /// What counts its rewritings.
    pub counter: Counter,
}

/// Every rule, in the order of their numbers.
pub const LIST: &[About] = &[
    merge::ABOUT,
    file_head::ABOUT,
    small_file::ABOUT,
    cork::ABOUT,
    nodelay::ABOUT,
    drained::ABOUT,
    socket_calls::ABOUT,
];
