//! Medians, and how sure they are: the bootstrap.
//!
//! Rounds of one life of the server share its luck (where its memory came to
//! lie), so they are not independent: lives are drawn first, with replacement,
//! then rounds within each (a two-level bootstrap).

use serde::{Deserialize, Serialize};

/// A median with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Estimate {
    /// Half the interval's width, relative to the median.
    pub fn uncertainty(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.median.abs().max(f64::MIN_POSITIVE)
    }
}

/// Draws of the bootstrap.
const DRAWS: usize = 2000;

/// The median; none of nothing.
pub fn median(values: &mut [f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The quantile `q`, interpolated between neighbours; none of nothing.
pub fn quantile(values: &mut [f64], q: f64) -> Option<f64> {
    let n = values.len().checked_sub(1)?;
    values.sort_unstable_by(f64::total_cmp);
    let at = q.clamp(0.0, 1.0) * n as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    let high = values[(low + 1).min(n)];
    Some(values[low] + (high - values[low]) * part)
}

/// The median of all values and its interval; `lives` are the groups of values
/// that are not independent of one another. None without a value.
pub fn estimate(lives: &[Vec<f64>]) -> Option<Estimate> {
    let lives: Vec<&Vec<f64>> = lives.iter().filter(|l| !l.is_empty()).collect();
    let mut all: Vec<f64> = lives.iter().flat_map(|l| l.iter().copied()).collect();
    let middle = median(&mut all)?;
    // Always the same draws: a report can be made again from its data.
    let mut rng = fastrand::Rng::with_seed(0x0e5c_a0e5);
    let mut medians = Vec::with_capacity(DRAWS);
    let mut drawn = Vec::with_capacity(all.len());
    for _ in 0..DRAWS {
        drawn.clear();
        for _ in 0..lives.len() {
            let life = lives[rng.usize(..lives.len())];
            drawn.extend((0..life.len()).map(|_| life[rng.usize(..life.len())]));
        }
        medians.extend(median(&mut drawn));
    }
    Some(Estimate {
        median: middle,
        low: quantile(&mut medians, 0.025)?,
        high: quantile(&mut medians, 0.975)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of uniform numbers: close to normal with this mean and deviation.
    fn normal(rng: &mut fastrand::Rng, mean: f64, deviation: f64) -> f64 {
        let sum: f64 = (0..12).map(|_| rng.f64()).sum();
        mean + (sum - 6.0) * deviation
    }

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
        assert_eq!(quantile(&mut [0.0, 10.0, 20.0], 0.25), Some(5.0));
        assert_eq!(quantile(&mut [5.0], 0.99), Some(5.0));
    }

    #[test]
    fn nothing_and_one_value() {
        assert_eq!(estimate(&[]), None);
        assert_eq!(estimate(&[vec![], vec![]]), None);
        let e = estimate(&[vec![2.0]]).unwrap();
        assert_eq!((e.median, e.low, e.high), (2.0, 2.0, 2.0));
        assert_eq!(e.uncertainty(), 0.0);
    }

    #[test]
    fn more_rounds_are_surer() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut life = |n| (0..n).map(|_| normal(&mut rng, 0.7, 0.05)).collect();
        let few: Vec<Vec<f64>> = (0..8).map(|_| life(2)).collect();
        let many: Vec<Vec<f64>> = (0..8).map(|_| life(50)).collect();
        let (few, many) = (estimate(&few).unwrap(), estimate(&many).unwrap());
        assert!(many.low < 0.7 && 0.7 < many.high, "{many:?}");
        assert!(many.uncertainty() < few.uncertainty() / 2.0);
    }

    /// The interval holds the truth in about 95 of 100 cases, also where the
    /// lives differ.
    #[test]
    fn the_interval_covers_the_truth() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut held = 0;
        for _ in 0..100 {
            let lives: Vec<Vec<f64>> = (0..12)
                .map(|_| {
                    let luck = normal(&mut rng, 0.0, 0.03);
                    let one = |_| normal(&mut rng, 1.0 + luck, 0.03);
                    (0..6).map(one).collect()
                })
                .collect();
            let e = estimate(&lives).unwrap();
            held += i32::from(e.low <= 1.0 && 1.0 <= e.high);
        }
        assert!((88..=100).contains(&held), "{held} of 100");
    }
}
