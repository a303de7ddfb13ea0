//! The differential model test: random programs of socket operations run on
//! the plain kernel and under the preload library, and a checker compares
//! what the program and its peers saw. docs/testing.md says what it covers.

pub mod board;
pub mod bytes;
pub mod check;
pub mod generate;
pub mod hung;
pub mod hunt;
pub mod peer;
pub mod program;
pub mod run;
pub mod scene;
