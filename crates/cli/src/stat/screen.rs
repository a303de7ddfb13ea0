//! The report as a terminal screen that renews itself; q ends it.

use super::lines;
use super::report::{Part, Report};
use crate::observe::Family;
use anyhow::{Context, Result, bail};
use esca_abi::stats::{ALL, Counter, NAMES};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::widgets::{Bar, BarChart, BarGroup, Block, Paragraph, Row, Sparkline, Table, Wrap};
use ratatui::{DefaultTerminal, Frame};
use std::time::{Duration, Instant};

/// Looks that the curve shows at most.
const HISTORY: usize = 240;

/// Runs until q, Escape or Ctrl-C, or until the server ends.
pub fn run(family: &mut Family, interval: Duration) -> Result<()> {
    let mut terminal = ratatui::try_init().context("cannot use this terminal; try --once")?;
    let ended = show(&mut terminal, family, interval);
    ratatui::restore();
    ended
}

fn show(t: &mut DefaultTerminal, family: &mut Family, interval: Duration) -> Result<()> {
    let mut report = Report::new(family, None);
    let mut curve = Vec::new();
    let (mut before, mut then) = (family.total(), Instant::now());
    loop {
        t.draw(|f| draw(f, &report, &curve))?;
        let left = interval.saturating_sub(then.elapsed());
        if event::poll(left)? {
            if is_end(&event::read()?) {
                return Ok(());
            }
            continue;
        }
        if !family.is_alive() {
            bail!("process {} ({}) has ended", family.pid(), family.name());
        }
        family.look()?;
        report = Report::new(family, Some((&before, then.elapsed())));
        (before, then) = (family.total(), Instant::now());
        let rate = report.latest().rate(Counter::Answered);
        curve.push(rate.unwrap_or(0.0) as u64);
        if curve.len() > HISTORY {
            curve.remove(0);
        }
    }
}

fn is_end(e: &Event) -> bool {
    let Event::Key(k) = e else { return false };
    k.kind == KeyEventKind::Press
        && (matches!(k.code, KeyCode::Char('q') | KeyCode::Esc)
            || k.code == KeyCode::Char('c') && k.modifiers.contains(KeyModifiers::CONTROL))
}

fn draw(f: &mut Frame, r: &Report, curve: &[u64]) {
    let processes = r.processes.len().min(8) as u16 + 2;
    let [top, middle, bars, list] = Layout::vertical([
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Min(9),
        Constraint::Length(processes),
    ])
    .areas(f.area());
    head(f, top, r);
    let what = "requests/s";
    let newest = curve.last().copied().unwrap_or(0);
    let line = Sparkline::default()
        .block(Block::bordered().title(format!(" {newest} {what} ")))
        .data(
            curve
                .iter()
                .rev()
                .take(middle.width as usize)
                .rev()
                .copied(),
        )
        .style(Style::new().cyan());
    f.render_widget(line, middle);
    let [left, right] =
        Layout::horizontal([Constraint::Ratio(1, 2), Constraint::Ratio(1, 2)]).areas(bars);
    let per = if r.interval.is_some() { " /s" } else { "" };
    group(f, left, r, "rules", &format!(" rewritings by rule{per} "));
    group(f, right, r, "flushes", &format!(" flushes by cause{per} "));
    people(f, list, r);
}

fn head(f: &mut Frame, at: Rect, r: &Report) {
    let title = format!(" {} {}: policy {} ", r.name, r.pid, r.policy);
    let mut text = vec![format!(
        "{:12}{:>14}{:>20}{:>22}",
        "", "requests", "calls per request", "segments per request"
    )];
    text.push(figures("since start", &r.total, r.watching()));
    text.extend(r.interval.iter().map(|i| figures("now", i, r.watching())));
    let c = &r.total.counters;
    text.push(format!(
        "custody: {} B at most; {} B waited for slow readers; {} late errors",
        c.get(Counter::PeakBytes),
        c.get(Counter::ResidueBytes),
        c.get(Counter::AsyncErrors)
    ));
    let p = Paragraph::new(text.join("\n"))
        .wrap(Wrap { trim: false })
        .block(Block::bordered().title(title).title_bottom(" q ends "));
    f.render_widget(p, at);
}

/// A row of the head: requests, or a second's, and what each takes, without
/// ESCA and with it.
fn figures(what: &str, p: &Part, watching: bool) -> String {
    let requests = match p.rate(Counter::Answered) {
        Some(rate) => format!("{rate:.0}/s"),
        None => p.figures.requests.to_string(),
    };
    let arrow = if watching { "would be" } else { "->" };
    let two = |f: Option<(f64, f64)>| {
        f.map_or_else(String::new, |(a, b)| format!("{a:.2} {arrow} {b:.2}"))
    };
    format!(
        "{what:12}{requests:>14}{:>20}{:>22}",
        two(p.figures.calls(watching)),
        two(p.figures.segments())
    )
}

/// A bar for each counter of a group.
fn group(f: &mut Frame, at: Rect, r: &Report, which: &str, title: &str) {
    let part = r.latest();
    let bars: Vec<_> = ALL
        .iter()
        .zip(NAMES)
        .filter(|(_, (g, _))| *g == which)
        .map(|(c, (_, name))| {
            let n = part.rate(*c).unwrap_or(part.counters.get(*c) as f64);
            let text = format!("{name} {n:.0}");
            Bar::default().value(n.max(0.0) as u64).text_value(text)
        })
        .collect();
    let chart = BarChart::default()
        .direction(ratatui::layout::Direction::Horizontal)
        .bar_gap(0)
        .bar_style(Style::new().blue())
        .value_style(Style::new().bold())
        .block(Block::bordered().title(title.to_string()))
        .data(BarGroup::default().bars(&bars));
    f.render_widget(chart, at);
}

fn people(f: &mut Frame, at: Rect, r: &Report) {
    let rows = r.processes.iter().map(|p| {
        let text = lines::process(p, r.watching());
        Row::new([p.pid.to_string(), p.name.clone(), text])
    });
    let widths = [
        Constraint::Length(8),
        Constraint::Length(16),
        Constraint::Min(20),
    ];
    let table = Table::new(rows, widths).block(Block::bordered().title(" processes "));
    f.render_widget(table, at);
}
