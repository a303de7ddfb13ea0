//! Looking at running servers from outside: which processes belong to one,
//! which of them run with the library, and what they count. Nothing here
//! stops a process, makes it do anything, or needs preparation.

mod counts;
mod family;
mod table;

pub use counts::{Counts, Figures};
pub use family::{Family, Member, Standing};
