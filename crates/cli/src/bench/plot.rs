//! The plots, as SVG: every round's ratio with the median and its interval,
//! the distribution of latencies, and the lines of a sweep.

use super::colours::{FAINT, INK, colour, themed};
use super::estimate::Estimate;
use super::grid;
use super::report::Report;
use super::series::{Comparison, Figure};
use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// A drawing's errors, which borrow what it draws to.
fn said<E: std::error::Error + Send + Sync>(
    e: plotters::drawing::DrawingAreaErrorKind<E>,
) -> anyhow::Error {
    anyhow!("plot: {e}")
}

/// All plots of a report: file names without ending, and the SVG.
pub fn all(report: &Report) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    let single: Vec<&Comparison> = report
        .results
        .iter()
        .filter(|c| c.sweep.is_none())
        .collect();
    if !single.is_empty() {
        let cpu: Figure = |s| Some(s.cpu);
        let rate: Figure = |s| Some(s.rate);
        out.push((
            "cpu".into(),
            ratios(
                &single,
                cpu,
                "CPU per request, relative to the plain server (less is better)",
            )?,
        ));
        out.push((
            "rate".into(),
            ratios(
                &single,
                rate,
                "Requests/s, relative to the plain server (more is better)",
            )?,
        ));
    }
    for axis in ["size", "connections", "workers"] {
        for (server, points) in sweeps(report, axis) {
            let name = format!("sweep-{axis}-{}", server.to_lowercase());
            out.push((
                name.replace([' ', ',', '/'], "-"),
                sweep(&points, axis, &server)?,
            ));
        }
    }
    Ok(out)
}

/// The comparisons of one axis, for each server by itself.
pub fn sweeps<'a>(report: &'a Report, axis: &str) -> Vec<(String, Vec<&'a Comparison>)> {
    let mut out: Vec<(String, Vec<&Comparison>)> = Vec::new();
    for c in &report.results {
        if c.sweep.as_ref().is_none_or(|s| s.0 != axis) {
            continue;
        }
        let name = match axis {
            "size" => c.server.clone(),
            _ => format!("{} {}", c.server, c.load.split(',').next().unwrap_or("")),
        };
        match out.iter_mut().find(|(n, _)| *n == name) {
            Some((_, all)) => all.push(c),
            None => out.push((name, vec![c])),
        }
    }
    out
}

/// A row for each configuration of each load: a dot for each round, and the
/// median with its interval.
pub fn ratios(all: &[&Comparison], f: Figure, title: &str) -> Result<String> {
    struct Row {
        name: String,
        /// Of its load.
        first: bool,
        colour: RGBColor,
        dots: Vec<f64>,
        middle: super::estimate::Estimate,
    }
    let mut rows = Vec::new();
    for c in all {
        let base = &c.series[0];
        for (i, s) in c.series.iter().enumerate().skip(1) {
            let pairs = s.slices.iter().zip(&base.slices);
            let dots = pairs.filter_map(|(s, b)| Some(f(s)? / f(b)?)).collect();
            if let Some(middle) = s.ratio(base, f) {
                let name = match all {
                    [_] => s.config.clone(),
                    _ => format!("{} {}  {}", c.server, c.load, s.config),
                };
                rows.push(Row {
                    name,
                    first: i == 1,
                    colour: colour(i),
                    dots,
                    middle,
                });
            }
        }
    }
    let low = rows.iter().map(|r| r.middle.low).fold(0.9, f64::min);
    let high = rows.iter().map(|r| r.middle.high).fold(1.1, f64::max);
    let (low, high) = ((low - 0.12).max(0.0), high + 0.12);
    let height = 84 + 22 * rows.len() as u32;
    // One load stands beside its other plot, all of them fill the page.
    let (width, labels) = if all.len() == 1 {
        (560, 120)
    } else {
        (1100, 230)
    };
    let ticks = width as usize / 110;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        root.fill(&WHITE).map_err(said)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 16).into_font().color(&INK))
            .margin(10)
            .margin_right(24)
            .x_label_area_size(28)
            .set_label_area_size(LabelAreaPosition::Left, labels)
            .build_cartesian_2d(low..high, 0.0..rows.len() as f64)
            .map_err(said)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(WHITE)
            .bold_line_style(FAINT)
            .axis_style(FAINT)
            .x_labels(ticks)
            .x_label_formatter(&|x| format!("{x:.1}x"))
            .label_style(("sans-serif", 12).into_font().color(&INK))
            .draw()
            .map_err(said)?;
        let one = [(1.0, 0.0), (1.0, rows.len() as f64)];
        chart
            .draw_series([PathElement::new(one, INK.stroke_width(1))])
            .map_err(said)?;
        for (i, r) in rows.iter().enumerate() {
            let y = rows.len() as f64 - i as f64 - 0.5;
            if i > 0 && r.first {
                let edge = [(low, y + 0.5), (high, y + 0.5)];
                chart
                    .draw_series([PathElement::new(edge, FAINT.stroke_width(1))])
                    .map_err(said)?;
            }
            // Spread in height, always the same way, so that dots are seen.
            let dots = r
                .dots
                .iter()
                .enumerate()
                .filter(|(_, x)| (low..high).contains(*x));
            let dots = dots.map(|(k, x)| (*x, y + ((k * 7) % 11) as f64 / 11.0 * 0.6 - 0.3));
            chart
                .draw_series(dots.map(|at| Circle::new(at, 2, r.colour.mix(0.28).filled())))
                .map_err(said)?;
            let line = [(r.middle.low, y), (r.middle.high, y)];
            chart
                .draw_series([PathElement::new(line, r.colour.stroke_width(3))])
                .map_err(said)?;
            chart
                .draw_series([Circle::new((r.middle.median, y), 4, r.colour.filled())])
                .map_err(said)?;
            let (_, py) = chart.backend_coord(&(low, y));
            let style = ("sans-serif", 13).into_font().color(&INK);
            root.draw(&Text::new(r.name.clone(), (14, py - 6), style))
                .map_err(said)?;
        }
        root.present().map_err(said)?;
    }
    Ok(themed(&svg))
}

/// The distribution of latencies: the slowest one in ten, in a hundred, ...
pub fn latencies(c: &Comparison) -> Result<String> {
    // 0, 90 %, 99 %, 99.9 % are as far from one another.
    let nines = |q: f64| -(1.0 - q).log10();
    let curves: Vec<Vec<(f64, f64)>> = c
        .series
        .iter()
        .map(|s| {
            let inside = s.latencies.iter();
            let inside = inside.filter(|p| (0.01..=0.9995).contains(&p.0));
            inside.map(|(q, us)| (nines(*q), us.max(1.0))).collect()
        })
        .collect();
    let all = || curves.iter().flatten().map(|p| p.1);
    let (low, high) = (all().fold(1e9, f64::min), all().fold(1.0, f64::max));
    let places = [
        ("50 %", 0.5),
        ("90 %", 0.9),
        ("99 %", 0.99),
        ("99.9 %", 0.999),
    ];
    lines(
        &c.series
            .iter()
            .map(|s| s.config.clone())
            .collect::<Vec<_>>(),
        &curves,
        &[],
        (0.0..3.4, low * 0.8..high * 1.25),
        (
            "Latency (us) that this part of the requests did not exceed",
            &places.map(|(text, q)| (nines(q), text.to_string())),
        ),
    )
}

/// A figure over an axis, a line for each configuration with its intervals.
pub fn sweep(points: &[&Comparison], axis: &str, server: &str) -> Result<String> {
    let names: Vec<String> = points[0].series.iter().map(|s| s.config.clone()).collect();
    let at = |c: &Comparison| c.sweep.as_ref().map_or(1.0, |s| f64::from(s.1)).log10();
    let mut curves = Vec::new();
    let mut bars = Vec::new();
    for i in 0..names.len() {
        let mut curve = Vec::new();
        for c in points {
            let Some(s) = c.series.get(i) else { continue };
            let mut cpu: Vec<f64> = s.slices.iter().map(|s| s.cpu).collect();
            let quartile = |v: &mut Vec<f64>, q| super::estimate::quantile(v, q);
            if let Some(m) = quartile(&mut cpu, 0.5) {
                curve.push((at(c), m));
                let ends = quartile(&mut cpu, 0.25).zip(quartile(&mut cpu, 0.75));
                bars.extend(ends.map(|(a, b)| (i, at(c), a, b)));
            }
        }
        curves.push(curve);
    }
    let ends = || bars.iter().flat_map(|b| [b.2, b.3]);
    let (low, high) = (ends().fold(1e9, f64::min), ends().fold(1.0, f64::max));
    let place = |c: &Comparison| c.sweep.as_ref().map_or(0, |s| s.1).to_string();
    let places: Vec<_> = points.iter().map(|c| (at(c), place(c))).collect();
    let right = places.iter().map(|p| p.0).fold(0.0, f64::max);
    let title =
        format!("{server}: CPU per request (us) over {axis}; bars from quartile to quartile");
    lines(
        &names,
        &curves,
        &bars,
        (-0.05..right + 0.05, low * 0.8..high * 1.25),
        (&title, &places),
    )
}

/// An operation's cost by the size of the batch.
pub type Costs = [(usize, Estimate)];

/// A system call's cost over the size of the batch, for each way to make it.
pub fn costs(all: &[(&str, &Costs)]) -> Result<String> {
    let names: Vec<String> = all.iter().map(|(name, _)| (*name).to_owned()).collect();
    let x = |n: &usize| (*n as f64).log2();
    let mut curves = Vec::new();
    let mut bars = Vec::new();
    for (i, (_, costs)) in all.iter().enumerate() {
        curves.push(costs.iter().map(|(n, e)| (x(n), e.median)).collect());
        bars.extend(costs.iter().map(|(n, e)| (i, x(n), e.low, e.high)));
    }
    let ends = || bars.iter().flat_map(|b| [b.2, b.3]);
    let (low, high) = (ends().fold(1e9, f64::min), ends().fold(1.0, f64::max));
    let right = bars.iter().map(|b| b.1).fold(0.0, f64::max);
    let sizes = all.first().map_or(&[][..], |(_, costs)| costs);
    let places: Vec<_> = sizes.iter().map(|(n, _)| (x(n), n.to_string())).collect();
    lines(
        &names,
        &curves,
        &bars,
        (-0.2..right + 0.2, low * 0.8..high * 1.5),
        (
            "Nanoseconds for each operation over the operations in a batch",
            &places,
        ),
    )
}

/// Lines in one drawing, the y axis by powers.
fn lines(
    names: &[String],
    curves: &[Vec<(f64, f64)>],
    bars: &[(usize, f64, f64, f64)],
    (x, y): (std::ops::Range<f64>, std::ops::Range<f64>),
    (title, places): (&str, &[(f64, String)]),
) -> Result<String> {
    // Where the curves are not.
    let starts = curves.iter().filter_map(|c| c.first());
    let ends = curves.iter().filter_map(|c| c.last());
    let falling = starts.map(|p| p.1).fold(0.0, f64::max) > ends.map(|p| p.1).fold(0.0, f64::max);
    let legend = if falling {
        SeriesLabelPosition::UpperRight
    } else {
        SeriesLabelPosition::UpperLeft
    };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (560, 330)).into_drawing_area();
        root.fill(&WHITE).map_err(said)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 13).into_font().color(&INK))
            .margin(10)
            .x_label_area_size(28)
            .y_label_area_size(52)
            .build_cartesian_2d(x.clone(), y.clone().log_scale())
            .map_err(said)?;
        grid::draw(&root, &mut chart, places, (&x, &y)).map_err(said)?;
        for (i, curve) in curves.iter().enumerate() {
            let c = colour(i);
            chart
                .draw_series(LineSeries::new(curve.iter().copied(), c.stroke_width(2)))
                .map_err(said)?
                .label(names[i].clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], c.stroke_width(2)));
        }
        chart
            .draw_series(bars.iter().map(|(i, x, a, b)| {
                PathElement::new([(*x, *a), (*x, *b)], colour(*i).mix(0.5).stroke_width(3))
            }))
            .map_err(said)?;
        chart
            .configure_series_labels()
            .position(legend)
            .border_style(WHITE)
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 12).into_font().color(&INK))
            .draw()
            .map_err(said)?;
        root.present().map_err(said)?;
    }
    Ok(themed(&svg))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn a_dot_for_each_round() {
        let r = report();
        let plots = all(&r).unwrap();
        let names: Vec<&str> = plots.iter().map(|p| p.0.as_str()).collect();
        assert_eq!(names, ["cpu", "rate"]);
        // Four rounds and a median in each of two rows.
        assert_eq!(plots[0].1.matches("<circle").count(), 2 * (4 + 1));
        assert!(plots[0].1.contains("nginx 1 KiB  coalesce"));
        // Each colour that is drawn has one for dark pages.
        let drawn = plots[0].1.split("=\"#").skip(1).map(|c| &c[..6]);
        for colour in drawn {
            let rule = format!("=\"#{colour}\"]{{");
            assert!(plots[0].1.contains(&rule), "{colour}");
        }
        let svg = latencies(&r.results[0]).unwrap();
        assert!(svg.contains("coalesce") && svg.matches("<polyline").count() >= 2);
    }

    #[test]
    fn a_line_for_each_configuration_of_a_sweep() {
        let mut r = report();
        for (c, kib) in r.results.iter_mut().zip([1, 200]) {
            c.sweep = Some(("size".into(), kib));
        }
        let plots = all(&r).unwrap();
        assert_eq!(plots.len(), 1);
        assert_eq!(plots[0].0, "sweep-size-nginx");
        assert!(plots[0].1.contains("coalesce"));
        // The places that were measured, at the axis.
        for place in ["\n1\n", "\n200\n"] {
            assert!(plots[0].1.contains(place), "{}", plots[0].1);
        }
    }
}
