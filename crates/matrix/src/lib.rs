//! The compatibility matrix: unmodified Debian programs under load or in real
//! use, the bytes their clients see compared with those without ESCA.

pub mod client;
pub mod programs;
pub mod report;
pub mod service;
pub mod trial;
pub mod user;
pub mod web;

use esca_suite::mode::{Mode, Stats};

/// What was seen at one point, and its name.
pub type Piece = (String, Vec<u8>);

/// What one run of a program gave.
pub struct Run {
    /// What its clients saw, piece by piece, without what differs from run to
    /// run (dates, identifiers drawn by lot), and how it ended.
    pub seen: Vec<Piece>,
    /// Requests, messages or transfers: what the gain is counted by.
    pub requests: u64,
    /// Its statistics, when it ran under ESCA.
    pub stats: Option<Stats>,
}

/// A program of the matrix.
pub trait Program: Sync {
    /// Its name in the table.
    fn name(&self) -> &'static str;
    /// Debian's package, for the version.
    fn package(&self) -> &'static str;
    /// What is done with it and compared.
    fn checked(&self) -> &'static str;
    /// Whether `make test` runs it: a light one that no other test runs.
    fn small(&self) -> bool {
        false
    }
    /// Why there is nothing to aggregate under this policy, where there is
    /// nothing. The library must have been at work all the same.
    fn nothing(&self, _policy: &str) -> Option<&'static str> {
        None
    }
    /// What a reader of the table should know beside.
    fn note(&self) -> Option<&'static str> {
        None
    }
    /// Starts it in this mode, uses it, and returns what was seen. Panics
    /// where something fails outright.
    fn run(&self, mode: Mode) -> Run;
}
