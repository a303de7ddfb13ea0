//! The forecast for a running server without the library: its system calls
//! are seen by the kernel's trace points (raw_syscalls) and replayed to the
//! engine's policy watch. The server is not stopped; while it is observed a
//! call takes a little longer.

use super::forecast::Forecast;
use super::replay::{Call, Replay};
use crate::observe::{Family, Standing};
use anyhow::{Context, Result, anyhow, bail};
use perf_event::data::Record;
use perf_event::events::Tracepoint;
use perf_event::{Builder, SampleFlag, Sampler};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use std::io::{Error, ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, Instant};

/// Calls of one thread that are looked at, at most.
const ENOUGH: usize = 100_000;
/// Ring buffers of all threads together.
const MEMORY: usize = 64 << 20;
/// Between two looks at the ring buffers.
const LOOK: Duration = Duration::from_millis(5);

/// The two trace points.
struct Points {
    enter: u64,
    exit: u64,
}

/// Finds their numbers, in the tracefs that is mounted, or in one of our own
/// that nobody else sees.
fn points() -> Result<Points> {
    let id = |text: &str| text.trim().parse::<u64>().ok();
    for dir in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
        let of = |e: &str| {
            let file = Path::new(dir).join(format!("events/raw_syscalls/{e}/id"));
            id(&std::fs::read_to_string(file).ok()?)
        };
        if let (Some(enter), Some(exit)) = (of("sys_enter"), of("sys_exit")) {
            return Ok(Points { enter, exit });
        }
    }
    let own = || -> rustix::io::Result<_> {
        let fs = rustix::mount::fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&fs)?;
        rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    let root = own().map_err(|_| {
        anyhow!("trace points need root (CAP_SYS_ADMIN or CAP_PERFMON and a readable tracefs)")
    })?;
    let of = |e: &str| -> Result<u64> {
        use rustix::fs::{Mode, OFlags, openat};
        let name = format!("events/raw_syscalls/{e}/id");
        let fd = openat(&root, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context("this kernel has no raw_syscalls trace points")?;
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text)?;
        id(&text).context("an unreadable trace point")
    };
    Ok(Points {
        enter: of("sys_enter")?,
        exit: of("sys_exit")?,
    })
}

fn open(point: u64, tid: i32, bytes: usize) -> std::io::Result<Sampler> {
    let mut b = Builder::new(Tracepoint::with_id(point));
    b.observe_pid(tid)
        .any_cpu()
        .include_kernel()
        .sample_period(1)
        .sample(SampleFlag::TIME | SampleFlag::RAW);
    let mut s = b.build()?.sampled(bytes)?;
    s.enable()?;
    Ok(s)
}

/// Whether this process may use them.
pub fn allowed() -> Result<()> {
    let p = points()?;
    open(p.enter, 0, 1 << 14).map(drop).map_err(refused)
}

fn refused(e: Error) -> anyhow::Error {
    match e.kind() {
        ErrorKind::PermissionDenied => anyhow!(
            "the kernel refuses trace points to this user; run this as root (or with CAP_PERFMON \
             and kernel.perf_event_paranoid below 2)"
        ),
        _ => anyhow!("the kernel refuses trace points: {e}"),
    }
}

/// One thread that is observed.
struct Thread {
    enter: Sampler,
    exit: Sampler,
    calls: Calls,
}

/// What its ring buffers had: time, number or result, arguments.
#[derive(Default)]
struct Calls {
    enters: Vec<(u64, i64, [u64; 6])>,
    exits: Vec<(u64, i64, i64)>,
    lost: bool,
}

/// Observes the server of `pid` for `time`; a forecast for each process that
/// answered requests.
pub fn forecast(pid: i32, time: Duration) -> Result<Vec<Forecast>> {
    let family = Family::of(pid)?;
    if family
        .members
        .iter()
        .any(|m| m.standing == Standing::Counting)
    {
        bail!(
            "process {pid} ({}) runs with ESCA already: 'esca stat {pid}' says what it saves",
            family.name()
        );
    }
    crate::interrupt::watch()?;
    let points = points()?;
    let mut all = Vec::new();
    for m in &family.members {
        let replay = Replay::new(m.pid)?;
        all.push((m, replay, threads(m.pid)?, Vec::new()));
    }
    let count: usize = all.iter().map(|(_, _, t, _)| t.len()).sum();
    let ring = (MEMORY / (2 * count.max(1))).clamp(1 << 16, 4 << 20);
    let ring = 1 << ring.ilog2();
    for (_, _, tids, threads) in &mut all {
        for tid in tids {
            // The exits first: every enter that is seen has its exit.
            let open = |point| open(point, *tid, ring).map_err(refused);
            let (exit, enter) = (open(points.exit)?, open(points.enter)?);
            let calls = Calls::default();
            threads.push(Thread { enter, exit, calls });
        }
    }
    let end = Instant::now() + time.max(Duration::from_secs(1));
    while Instant::now() < end && crate::interrupt::check().is_ok() {
        let mut more = false;
        for (_, replay, _, threads) in &mut all {
            replay.look_at_epoll();
            for t in threads.iter_mut() {
                more |= t.drain();
            }
        }
        if !more {
            break;
        }
        std::thread::sleep(LOOK);
    }
    let mut forecasts = Vec::new();
    for (m, mut replay, _, threads) in all {
        for t in threads {
            replay.thread(&t.calls.paired());
        }
        let (counts, calls) = replay.counted();
        forecasts.extend(Forecast::new(m.pid, &m.name, &counts, Some(calls)));
    }
    Ok(forecasts)
}

fn threads(pid: i32) -> Result<Vec<i32>> {
    let dir = std::fs::read_dir(format!("/proc/{pid}/task"));
    let dir = dir.with_context(|| format!("process {pid} has ended"))?;
    Ok(dir
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect())
}

impl Thread {
    /// Takes what the ring buffers have; false when it is enough.
    fn drain(&mut self) -> bool {
        if self.calls.lost || self.calls.enters.len() >= ENOUGH {
            return false;
        }
        let calls = &mut self.calls;
        // The exits first, so that no enter lacks one only for being newer.
        take(&mut self.exit, &mut calls.lost, |time, raw| {
            let (id, ret) = (number(raw, 8)? as i64, number(raw, 16)? as i64);
            calls.exits.push((time, id, ret));
            Some(())
        });
        take(&mut self.enter, &mut calls.lost, |time, raw| {
            let mut args = [0; 6];
            for (i, a) in args.iter_mut().enumerate() {
                *a = number(raw, 16 + 8 * i)?;
            }
            calls.enters.push((time, number(raw, 8)? as i64, args));
            Some(())
        });
        true
    }
}

/// An eight-byte field of a trace point's record.
fn number(raw: &[u8], at: usize) -> Option<u64> {
    let b = raw.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_ne_bytes(b))
}

fn take(s: &mut Sampler, lost: &mut bool, mut each: impl FnMut(u64, &[u8]) -> Option<()>) {
    while let Some(record) = s.next_record() {
        match record.parse_record() {
            Ok(Record::Sample(s)) => {
                if let (Some(time), Some(raw)) = (s.time(), s.raw()) {
                    each(time, raw);
                }
            }
            // What comes after a gap would be misread.
            Ok(Record::Lost(_)) => {
                *lost = true;
                return;
            }
            _ => {}
        }
    }
}

impl Calls {
    /// Each enter with its exit, up to the first that has none.
    fn paired(&self) -> Vec<Call> {
        let mut exits = self.exits.iter().peekable();
        let mut calls = Vec::with_capacity(self.enters.len());
        for (time, number, args) in &self.enters {
            // Exits of calls that were entered before the first look.
            while exits.next_if(|(t, ..)| t < time).is_some() {}
            match exits.next_if(|(_, id, _)| id == number) {
                Some((_, _, result)) => calls.push(Call {
                    number: *number,
                    args: *args,
                    result: *result,
                }),
                // exit and execve have none.
                None => break,
            }
        }
        calls
    }
}
