//! What is known of one stream beyond the facts in its state word.

pub(crate) mod credit;
pub(crate) mod edges;
pub(crate) mod ports;
