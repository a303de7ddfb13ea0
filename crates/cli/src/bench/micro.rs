//! `esca micro`: what a system call costs by a plain call and by each backend,
//! over batch sizes, and from which size on a backend is cheaper.

use super::estimate::{Estimate, estimate};
use super::{plot, png};
use crate::{doctor, host};
use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use esca_abi::stats;
use esca_engine::backend::{Backend, Direct, Esca, Kmod, Op, OpCode};
use io_uring::{IoUring, opcode, types};
use serde::Serialize;
use std::cell::RefCell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

/// Operations in a batch.
const SIZES: [usize; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

#[derive(clap::Args)]
pub struct Args {
    /// Rounds; each measures every backend at every size
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// Write the figures to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw them to FILE: an SVG, or a PNG by its name
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// One way to carry out a batch.
#[derive(Serialize)]
pub struct Line {
    pub name: String,
    /// Nanoseconds for each operation, by batch size.
    pub costs: Vec<(usize, Estimate)>,
    /// The smallest size from which on it is cheaper than plain calls.
    break_even: Option<usize>,
}

type Run = Box<dyn Fn(&mut [Op])>;

/// The operation: a send on a socket that has no connection. It is looked up,
/// locked and refused, so little but the way there and back is measured.
fn refused(fd: i32) -> Op {
    Op {
        opcode: OpCode::Send as u32,
        fd,
        ptr: b"x".as_ptr() as u64,
        len: 1,
        ..Op::nop()
    }
}

/// What of the project's can carry out a batch here: plain calls of the C
/// library first.
fn ways() -> Vec<(String, Run)> {
    let plain: Run = Box::new(|ops| {
        for op in ops {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: ptr is that of a literal byte (refused).
            let n = unsafe { libc::send(op.fd, op.ptr as *const _, op.len as usize, flags) };
            op.result = if n < 0 { -1 } else { n as i64 };
        }
    });
    let mut all = vec![("plain call".to_string(), plain)];
    for (name, backend) in backends() {
        let run: Run = Box::new(move |ops| {
            // SAFETY: as above.
            unsafe { backend.run(ops) };
        });
        all.push((format!("backend {name}"), run));
    }
    all
}

/// The library's backends that work here.
fn backends() -> Vec<(&'static str, Box<dyn Backend>)> {
    static COUNTS: stats::Table = stats::Table::new();
    let mut all: Vec<(_, Box<dyn Backend>)> = vec![("direct", Box::new(Direct))];
    if let Ok(module) = Kmod::new(Esca, &COUNTS) {
        all.push(("kmod", Box::new(module)));
    }
    all
}

/// The same operations through an io_uring, if one may be had: for comparison,
/// the library has no such backend (docs/measuring.md says why).
fn uring() -> Option<Run> {
    doctor::uring_works().then_some(())?;
    let ring = RefCell::new(IoUring::new(SIZES[SIZES.len() - 1] as u32).ok()?);
    Some(Box::new(move |ops| {
        let mut ring = ring.borrow_mut();
        for (i, op) in ops.iter().enumerate() {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            let send = opcode::Send::new(types::Fd(op.fd), op.ptr as *const u8, op.len as u32);
            let entry = send.flags(flags).build().user_data(i as u64);
            // SAFETY: ptr is that of a literal byte (refused); the queue has
            // room for the largest batch, and is empty between two.
            let _ = unsafe { ring.submission().push(&entry) };
        }
        // A failure leaves results that measure() complains about.
        let _ = ring.submit_and_wait(ops.len());
        for done in ring.completion() {
            ops[done.user_data() as usize].result = done.result().into();
        }
    }))
}

/// Nanoseconds for each operation of batches of `size`, about a thousand
/// operations.
fn once(run: &Run, table: &mut [Op], size: usize) -> f64 {
    let batches = (1024 / size).max(1);
    let start = Instant::now();
    for _ in 0..batches {
        run(&mut table[..size]);
    }
    start.elapsed().as_nanos() as f64 / (batches * size) as f64
}

pub fn main(args: &Args) -> Result<()> {
    let cpu = host::pins().map(|p| p.0);
    host::Host::look(false).print_machine();
    let mut ways = ways();
    ways.extend(uring().map(|run| ("io_uring".into(), run)));
    let lines = host::on_cpu(cpu, || measure(ways, args.rounds.max(1)))?;
    println!("\n{}", table(&lines));
    println!(
        "\nNanoseconds for each operation: medians of {} interleaved rounds. The operation is a send\n\
         that is refused at once, so that the way into the kernel and back is what is measured.\n",
        args.rounds.max(1)
    );
    for l in &lines[1..] {
        println!("{}: {}", l.name, verdict(&lines[0], l));
    }
    let write = |path: &PathBuf, bytes: &[u8]| {
        std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
    };
    if let Some(path) = &args.json {
        write(
            path,
            (serde_json::to_string_pretty(&lines)? + "\n").as_bytes(),
        )?;
    }
    if let Some(path) = &args.plot {
        let all: Vec<_> = lines.iter().map(|l| (&*l.name, &*l.costs)).collect();
        let svg = plot::costs(&all)?;
        if path.extension().is_some_and(|e| e == "png") {
            write(path, &png::draw(&svg)?)?;
        } else {
            write(path, svg.as_bytes())?;
        }
    }
    Ok(())
}

/// From which size on a line is cheaper than plain calls, and by how much.
fn verdict(plain: &Line, l: &Line) -> String {
    let at = |l: &Line| l.costs.last().map_or((0, 0.0), |(n, e)| (*n, e.median));
    let ((n, ns), (_, base)) = (at(l), at(plain));
    let saved = 100.0 * (1.0 - ns / base);
    let there = if saved < 0.0 {
        format!("at {n} it costs {:.0} % more", -saved)
    } else {
        format!("at {n} it saves {saved:.0} %")
    };
    match l.break_even {
        Some(from) => format!("cheaper than plain calls from {from} operations on; {there}"),
        None => format!("never surely cheaper than plain calls; {there}"),
    }
}

fn measure(ways: Vec<(String, Run)>, rounds: usize) -> Result<Vec<Line>> {
    let socket: OwnedFd = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )?;
    let mut ops = vec![refused(socket.as_raw_fd()); 1024];
    let mut seen = vec![vec![Vec::with_capacity(rounds); SIZES.len()]; ways.len()];
    for round in 0..=rounds {
        for (k, size) in SIZES.iter().enumerate() {
            for i in 0..ways.len() {
                // There and back; the first round warms up.
                let i = if round % 2 == 0 {
                    i
                } else {
                    ways.len() - 1 - i
                };
                ops[..*size].iter_mut().for_each(|o| o.result = 0);
                let ns = once(&ways[i].1, &mut ops, *size);
                ensure!(
                    ops[..*size].iter().all(|o| o.result < 0),
                    "{} did not do its operations",
                    ways[i].0
                );
                if round > 0 {
                    seen[i][k].push(ns);
                }
            }
        }
    }
    let cost = |v: &Vec<f64>| estimate(std::slice::from_ref(v));
    let mut lines: Vec<Line> = Vec::new();
    for ((name, _), seen) in ways.into_iter().zip(&seen) {
        let costs = SIZES.into_iter().zip(seen);
        let costs: Vec<_> = costs.filter_map(|(n, v)| Some((n, cost(v)?))).collect();
        let break_even = lines.first().and_then(|plain| even(&plain.costs, &costs));
        lines.push(Line {
            name,
            costs,
            break_even,
        });
    }
    Ok(lines)
}

/// The smallest size from which on every interval lies below that of plain
/// calls.
fn even(plain: &[(usize, Estimate)], other: &[(usize, Estimate)]) -> Option<usize> {
    let cheaper = plain
        .iter()
        .zip(other)
        .map(|(p, o)| (o.0, o.1.high < p.1.low));
    let mut from = None;
    for (size, yes) in cheaper {
        from = if yes { from.or(Some(size)) } else { None };
    }
    from
}

fn table(lines: &[Line]) -> Table {
    let mut t = Table::new();
    t.load_preset(presets::ASCII_MARKDOWN);
    let head = SIZES.iter().map(usize::to_string);
    t.set_header(std::iter::once("ns/operation, batch of".to_string()).chain(head));
    for l in lines {
        let costs = l.costs.iter().map(|(_, e)| format!("{:.0}", e.median));
        t.add_row(std::iter::once(l.name.clone()).chain(costs));
    }
    for c in t.column_iter_mut().skip(1) {
        c.set_cell_alignment(CellAlignment::Right);
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_measured_at_every_size() {
        let lines = measure(ways(), 3).unwrap();
        assert!(lines.len() >= 2);
        for l in &lines {
            assert_eq!(l.costs.len(), SIZES.len());
            assert!(l.costs.iter().all(|(_, e)| e.median > 0.0));
        }
        let text = table(&lines).to_string();
        assert!(text.contains("plain call") && text.contains("1024"));
    }

    #[test]
    fn a_verdict_says_more_or_less() {
        let line = |ns: f64, break_even| Line {
            name: String::new(),
            costs: vec![(
                1024,
                Estimate {
                    median: ns,
                    low: ns,
                    high: ns,
                },
            )],
            break_even,
        };
        let said = |ns, from| verdict(&line(100.0, None), &line(ns, from));
        let (less, more) = (said(60.0, Some(8)), said(150.0, None));
        assert!(
            less.contains("from 8 operations on; at 1024 it saves 40 %"),
            "{less}"
        );
        assert!(
            more.starts_with("never") && more.ends_with("it costs 50 % more"),
            "{more}"
        );
    }

    #[test]
    fn break_even_holds_from_there_on() {
        let costs = |v: &[f64]| {
            let one = |(n, m): (&usize, &f64)| {
                (
                    *n,
                    Estimate {
                        median: *m,
                        low: m - 1.0,
                        high: m + 1.0,
                    },
                )
            };
            SIZES.iter().zip(v).map(one).collect::<Vec<_>>()
        };
        let plain = costs(&[100.0; 4]);
        assert_eq!(even(&plain, &costs(&[150.0, 90.0, 80.0, 70.0])), Some(2));
        assert_eq!(even(&plain, &costs(&[90.0, 150.0, 80.0, 70.0])), Some(4));
        assert_eq!(even(&plain, &costs(&[150.0, 99.5, 99.5, 99.5])), None);
    }
}
