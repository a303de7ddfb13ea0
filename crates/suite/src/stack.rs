//! The stack that interposed calls take: what the test and the program that
//! measures agree on.

/// In which each function is measured: before the first wait; with an engine;
/// with bytes in custody; with those of many streams.
pub const STATES: [&str; 4] = ["early", "idle", "held", "many"];
