//! The memory of residues is bounded, whatever their sizes: above the bound
//! nothing more is promised, and bytes go straight to the kernel.
#![allow(missing_docs)]
mod common;
#[path = "common/plan.rs"]
mod plan;

use common::*;
use esca_abi::stats::Counter;
use esca_engine::Engine;
use esca_engine::settings::Policy;
use plan::planned;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// docs/semantics.md, 3.
const BOUND: usize = 16 << 20;
/// One thread's custody may come on top.
const CUSTODY: usize = 256 << 10;

/// Memory of this process that is resident, without that of files.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kib: usize = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib * 1024
}

/// Connections that the kernel takes nothing for, until no more is promised;
/// how many bytes were.
fn fill(bytes: &[u8], most: usize) -> usize {
    let before = resident();
    let (w, flush, drain) = planned(Policy::Coalesce, Engine::without_age);
    let h = w.hands();
    flush.stop(Some(libc::EAGAIN));
    drain.stop(Some(libc::EAGAIN));
    let mut pairs = Vec::new();
    loop {
        let (fd, peer) = w.pair(None);
        let deferred = w.count(Counter::Deferred);
        assert_eq!(h.more(fd, bytes), Ok(bytes.len()));
        h.wait(1);
        pairs.push((fd, peer));
        if w.count(Counter::Deferred) == deferred {
            break;
        }
        assert!(pairs.len() < most, "the bound was not reached");
    }
    let promised = w.count(Counter::ResidueBytes) as usize;
    let used = resident() - before;
    // The table of streams counts too: 64 bytes for each of 4096.
    let most = BOUND + CUSTODY + 64 * 4096;
    assert!(used <= most, "{used} bytes of memory");
    // It was the memory that set the bound, and nothing before it.
    assert!(used > BOUND / 2, "{used} bytes of memory");
    flush.stop(None);
    drain.stop(None);
    for (fd, peer) in &mut pairs {
        expect(peer, bytes);
        h.close(*fd);
    }
    promised
}

/// One test: it looks at the memory of the whole process.
#[test]
fn residues_of_every_size() {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        ..now
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    // Large ones: nearly all of it is bytes.
    let promised = fill(&pattern(16_000, 1), 1100);
    assert!(promised > BOUND / 2 && promised <= BOUND, "{promised}");
    // Just over two pages: what they need beside their bytes counts too.
    fill(&pattern(8200, 2), 1800);
}
