//! The grid behind a plot of lines: few round numbers on an axis by powers,
//! the places that were measured on the other.

use super::colours::{FAINT, INK};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::ops::Range;

/// Fewer lines say too little.
const FEW: usize = 4;

/// Round numbers within a range: by powers where it is wide, else in steps.
pub fn ticks(range: &Range<f64>) -> Vec<f64> {
    let (low, high) = (range.start, range.end);
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    for digits in [&[1.0, 2.0, 5.0][..], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0]] {
        let all = powers.clone().flat_map(|p| {
            let power = 10f64.powi(p);
            digits.iter().map(move |d| d * power)
        });
        let all: Vec<f64> = all.filter(|y| range.contains(y)).collect();
        if all.len() >= FEW {
            return all;
        }
    }
    let least = (high - low) / 6.0;
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|d| d * power);
    let step = steps.into_iter().find(|s| *s >= least).unwrap_or(least);
    let first = (low / step).ceil() as i64;
    let all = (first..).map(|i| i as f64 * step);
    all.take_while(|y| *y < high).collect()
}

/// A number as short as it is exact enough.
fn short(n: f64) -> String {
    let text = format!("{n:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Draws it: a line and a text for each place of `xs`, lines for [`ticks`] of
/// the other axis.
pub fn draw<'a, X, Y>(
    root: &DrawingArea<SVGBackend<'a>, Shift>,
    chart: &mut ChartContext<'_, SVGBackend<'a>, Cartesian2d<X, Y>>,
    xs: &[(f64, String)],
    (x, y): (&Range<f64>, &Range<f64>),
) -> Result<(), DrawingAreaErrorKind<std::io::Error>>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    let style = |h, v| {
        let font = ("sans-serif", 12).into_font().color(&INK);
        font.pos(Pos::new(h, v))
    };
    for (at, text) in xs {
        let line = [(*at, y.start), (*at, y.end)];
        chart.draw_series([PathElement::new(line, FAINT)])?;
        let (px, py) = chart.backend_coord(&(*at, y.start));
        let style = style(HPos::Center, VPos::Top);
        root.draw(&Text::new(text.clone(), (px, py + 6), style))?;
    }
    for at in ticks(y) {
        let line = [(x.start, at), (x.end, at)];
        chart.draw_series([PathElement::new(line, FAINT)])?;
        let (px, py) = chart.backend_coord(&(x.start, at));
        let style = style(HPos::Right, VPos::Center);
        root.draw(&Text::new(short(at), (px - 6, py), style))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_numbers_whatever_the_range() {
        assert_eq!(
            ticks(&(40.0..2500.0)),
            [50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]
        );
        assert_eq!(ticks(&(9.0..45.0)), [10.0, 15.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks(&(22.0..31.0)), [22.0, 24.0, 26.0, 28.0, 30.0]);
        for (low, high) in [(0.3, 0.4), (1.0, 1e6), (99.0, 101.0), (800.0, 12000.0)] {
            let n = ticks(&(low..high)).len();
            assert!((3..=20).contains(&n), "{low}..{high}: {n}");
        }
        assert_eq!(
            [short(0.25), short(10.0), short(1.5)],
            ["0.25", "10", "1.5"]
        );
    }
}
