//! Load: this program's own client, or a command of the user's.

mod command;
mod exchange;
mod latencies;
mod own;

pub use command::Generator;
pub use exchange::{Answer, Exchange};
pub use latencies::Latencies;
pub use own::Client;

/// What a slice of load gave. Latencies in microseconds.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Requests answered.
    pub requests: f64,
    /// Requests a second.
    pub rate: f64,
    /// Median latency.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// All of them, where the client was ours.
    pub latencies: Option<Latencies>,
}

impl Outcome {
    /// Of so many requests in so many seconds.
    fn new(requests: f64, seconds: f64, latencies: Latencies) -> Self {
        Outcome {
            requests,
            rate: requests / seconds,
            p50: Some(latencies.at(0.5)),
            p99: Some(latencies.at(0.99)),
            p999: Some(latencies.at(0.999)),
            latencies: Some(latencies),
        }
    }
}
