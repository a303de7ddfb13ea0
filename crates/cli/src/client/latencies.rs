//! Latencies of one slice of load, or of many.

use hdrhistogram::Histogram;
use std::time::Duration;

/// A histogram of nanoseconds, three digits exact.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// Where the distribution is read for a plot: fractions of the requests.
const POINTS: &[f64] = &[
    0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97,
    0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 1.0,
];

impl Latencies {
    /// Of nothing yet.
    pub fn new() -> Self {
        // These bounds are valid: a minute, in steps of three digits.
        let made = Histogram::new_with_bounds(100, 60_000_000_000, 3);
        Latencies(made.unwrap_or_else(|_| unreachable!("constant bounds")))
    }

    /// Adds one.
    pub fn add(&mut self, d: Duration) {
        self.0.saturating_record(d.as_nanos() as u64);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        // Same bounds, so nothing can be out of range.
        let _ = self.0.add(&other.0);
    }

    /// How many.
    #[cfg(test)]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// The latency, in microseconds, that a fraction `q` did not exceed.
    pub fn at(&self, q: f64) -> f64 {
        self.0.value_at_quantile(q) as f64 / 1e3
    }

    /// The distribution: fraction and microseconds; empty where nothing was
    /// recorded.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        POINTS.iter().map(|q| (*q, self.at(*q))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_within_three_digits() {
        let mut a = Latencies::new();
        for us in 1..=1000 {
            a.add(Duration::from_micros(us));
        }
        for (q, want) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            assert!((a.at(q) - want).abs() <= want / 1000.0 + 0.001, "{q}");
        }
        let mut b = Latencies::new();
        b.merge(&a);
        assert_eq!(b.len(), 1000);
        assert_eq!(b.curve(), a.curve());
        assert!(Latencies::new().curve().is_empty());
    }
}
