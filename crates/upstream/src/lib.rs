//! Other people's suites: the tests that the authors of a server wrote, from
//! Debian's source package, run against Debian's binary package, without ESCA
//! and under each policy. The same tests must pass.

pub mod compare;
pub mod launcher;
pub mod outcome;
pub mod source;
pub mod suites;
pub mod tap;
pub mod trial;
