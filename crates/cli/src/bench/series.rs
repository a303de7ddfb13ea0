//! What was measured: a slice, a configuration's series of them, and the
//! series that are compared.

use super::columns;
use super::estimate::{Estimate, estimate, median};
use serde::{Deserialize, Serialize};

/// One slice of load on one configuration. Times in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// Which start of the server.
    pub life: usize,
    /// Requests a second.
    pub rate: f64,
    /// CPU time of the server for each request.
    pub cpu: f64,
    /// Context switches of the server for each request.
    pub switches: f64,
    /// TCP segments for each request, both directions.
    pub segments: Option<f64>,
    /// Latencies.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
}

/// All of one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its name.
    pub config: String,
    /// In the order of the rounds.
    #[serde(with = "columns")]
    pub slices: Vec<Slice>,
    /// Entries into the kernel for each request, in a slice of their own.
    #[serde(serialize_with = "columns::short")]
    pub entries: Option<f64>,
    /// System calls for each request: the entries, and those that the library
    /// says it saved.
    #[serde(serialize_with = "columns::short")]
    pub calls: Option<f64>,
    /// Operations that were deferred or elided.
    pub aggregated: u64,
    /// The distribution of latencies: fraction and microseconds.
    pub latencies: Vec<(f64, f64)>,
}

/// All of one load: the first series is what the others are compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The server's name.
    pub server: String,
    /// The load's name.
    pub load: String,
    /// Its connections.
    pub connections: u32,
    /// Workers, or threads, of the server.
    pub workers: u32,
    /// The axis of a sweep and the place on it.
    pub sweep: Option<(String, u32)>,
    /// One for each configuration.
    pub series: Vec<Series>,
}

/// A figure of a slice.
pub type Figure = fn(&Slice) -> Option<f64>;

impl Series {
    /// The median of a figure.
    pub fn median(&self, f: Figure) -> Option<f64> {
        median(&mut self.slices.iter().filter_map(f).collect::<Vec<_>>())
    }

    /// The ratio to `base`, slice by slice of the same round.
    pub fn ratio(&self, base: &Series, f: Figure) -> Option<Estimate> {
        let mut lives: Vec<Vec<f64>> = Vec::new();
        for (mine, other) in self.slices.iter().zip(&base.slices) {
            lives.resize_with(lives.len().max(mine.life + 1), Vec::new);
            if let Some((m, o)) = f(mine).zip(f(other)) {
                lives[mine.life].push(m / o);
            }
        }
        estimate(&lives)
    }
}
