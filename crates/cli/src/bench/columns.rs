//! Slices in the data file: a column for each figure, in four digits, so that
//! the file stays small enough to be kept with the project.

use super::series::Slice;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

#[derive(Serialize, Deserialize)]
struct Columns {
    life: Vec<usize>,
    rate: Vec<f64>,
    cpu: Vec<f64>,
    switches: Vec<f64>,
    segments: Vec<Option<f64>>,
    p50: Vec<Option<f64>>,
    p99: Vec<Option<f64>>,
    p999: Vec<Option<f64>>,
}

/// `x` in four significant digits.
pub fn rounded(x: f64) -> f64 {
    format!("{x:.3e}").parse().unwrap_or(x)
}

/// Writes a figure that may be missing.
#[allow(clippy::ref_option)] // serde's signature
pub fn short<S: Serializer>(x: &Option<f64>, s: S) -> Result<S::Ok, S::Error> {
    x.map(rounded).serialize(s)
}

#[allow(clippy::ptr_arg)] // serde's signature
pub fn serialize<S: Serializer>(slices: &Vec<Slice>, s: S) -> Result<S::Ok, S::Error> {
    let column = |f: fn(&Slice) -> f64| slices.iter().map(|s| rounded(f(s))).collect();
    let maybe = |f: fn(&Slice) -> Option<f64>| slices.iter().map(|s| f(s).map(rounded)).collect();
    Columns {
        life: slices.iter().map(|s| s.life).collect(),
        rate: column(|s| s.rate),
        cpu: column(|s| s.cpu),
        switches: column(|s| s.switches),
        segments: maybe(|s| s.segments),
        p50: maybe(|s| s.p50),
        p99: maybe(|s| s.p99),
        p999: maybe(|s| s.p999),
    }
    .serialize(s)
}

pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Slice>, D::Error> {
    let c = Columns::deserialize(d)?;
    let n = c.life.len();
    let lengths = [
        c.rate.len(),
        c.cpu.len(),
        c.switches.len(),
        c.segments.len(),
        c.p50.len(),
        c.p99.len(),
        c.p999.len(),
    ];
    if lengths.iter().any(|l| *l != n) {
        return Err(D::Error::custom("columns of different lengths"));
    }
    let row = |i: usize| Slice {
        life: c.life[i],
        rate: c.rate[i],
        cpu: c.cpu[i],
        switches: c.switches[i],
        segments: c.segments[i],
        p50: c.p50[i],
        p99: c.p99[i],
        p999: c.p999[i],
    };
    Ok((0..n).map(row).collect())
}
