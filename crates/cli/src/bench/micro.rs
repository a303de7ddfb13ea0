//! `esca micro`: what a system call costs by a plain call and by each backend,
//! over batch sizes, and from which size on a backend is cheaper.

use super::estimate::{Estimate, estimate};
use crate::host;
use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use esca_engine::backend::{Backend, Direct, Op, OpCode};
use serde::Serialize;
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
}

/// One way to carry out a batch.
#[derive(Serialize)]
struct Line {
    name: String,
    /// Nanoseconds for each operation, by batch size.
    costs: Vec<(usize, Estimate)>,
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

/// Everything that can carry out a batch here: plain calls of the C library
/// first.
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

fn backends() -> Vec<(&'static str, Box<dyn Backend>)> {
    vec![("direct", Box::new(Direct))]
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
    host::Host::look(false).print();
    let lines = host::on_cpu(host::pins().map(|p| p.0), || measure(args.rounds.max(1)))?;
    println!("\n{}", table(&lines));
    println!(
        "\nNanoseconds for each operation: medians of {} interleaved rounds. The operation is a send\n\
         that is refused at once, so that the way into the kernel and back is what is measured.",
        args.rounds.max(1)
    );
    for l in &lines[1..] {
        match l.break_even {
            Some(n) => println!(
                "{}: cheaper than plain calls from {n} operations on",
                l.name
            ),
            None => println!("{}: never cheaper than plain calls", l.name),
        }
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&lines)? + "\n")?;
    }
    Ok(())
}

fn measure(rounds: usize) -> Result<Vec<Line>> {
    let socket: OwnedFd = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )?;
    let ways = ways();
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
        let lines = measure(3).unwrap();
        assert!(lines.len() >= 2);
        for l in &lines {
            assert_eq!(l.costs.len(), SIZES.len());
            assert!(l.costs.iter().all(|(_, e)| e.median > 0.0));
        }
        let text = table(&lines).to_string();
        assert!(text.contains("plain call") && text.contains("1024"));
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
