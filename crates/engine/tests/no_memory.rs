//! A process that gets no more memory: what the engine cannot have it does
//! without. One test, in a process of its own: the limit is the process's.
#![allow(missing_docs)]
mod common;
#[path = "common/plan.rs"]
mod plan;

use common::*;
use esca_abi::stats::{Counter, Table};
use esca_engine::Engine;
use esca_engine::settings::{Policy, Settings};
use plan::{Fault, planned};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Runs `f` while the address space cannot grow. What `f` allocates has to be
/// small: the heap has room for that.
fn starved<R>(f: impl FnOnce() -> R) -> R {
    let was = getrlimit(Resource::As);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmSize:"));
    let kib: u64 = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    let current = Some(kib * 1024);
    setrlimit(Resource::As, Rlimit { current, ..was }).unwrap();
    let answer = f();
    setrlimit(Resource::As, was).unwrap();
    answer
}

#[test]
fn the_program_goes_on() {
    // No table of streams: no engine.
    let table: &'static Table = Box::leak(Box::new(Table::new()));
    let new = || Engine::new(Settings::default(), 1 << 20, table);
    let error = starved(|| new().err());
    assert_eq!(error, Some(rustix::io::Errno::NOMEM));
    assert!(new().is_ok());

    // No custody for a thread: it goes straight through, until there is.
    let w = world(Policy::Coalesce);
    starved(|| assert!(w.engine.enter_thread().is_none()));
    let h = w.hands();

    // No sweeper: nothing stays in custody.
    let (fd, mut peer) = w.pair(None);
    starved(|| assert_eq!(h.more(fd, b"at once"), Ok(7)));
    expect(&mut peer, b"at once");
    let deferred = w.count(Counter::Deferred);
    assert_eq!(h.more(fd, b"and this"), Ok(8));
    expect(&mut peer, b"and this");
    assert_eq!(w.count(Counter::Deferred), deferred);

    // No room for residues, of several streams at once: they stand in the
    // reserve, nobody waits, and nothing more is promised until it is free.
    for policy in [Policy::Coalesce, Policy::Batch] {
        let (w, flush, drain) = planned(policy, Engine::without_age);
        let h = w.hands();
        let (first, mut peer) = w.pair(None);
        h.more(first, b"starts the sweeper").unwrap();
        h.wait(4);
        expect(&mut peer, b"starts the sweeper");
        let mut pairs: Vec<_> = (0..4).map(|_| w.pair(None)).collect();
        for round in 0..3 {
            for (fd, _) in &pairs {
                assert_eq!(h.more(*fd, &[round; 5000]), Ok(5000));
            }
            flush.next(&[Fault::Short(2000); 4]);
            drain.stop(Some(libc::EAGAIN));
            starved(|| h.wait(4));
            for (fd, peer) in &mut pairs {
                expect(peer, &[round; 2000]);
                assert!(w.engine.in_custody(*fd));
                assert_eq!(h.write(*fd, b"x"), Err(libc::EAGAIN));
            }
            let deferred = w.count(Counter::Deferred);
            assert_eq!(h.more(first, b"straight"), Ok(8));
            expect(&mut peer, b"straight");
            assert_eq!(w.count(Counter::Deferred), deferred);
            drain.stop(None);
            for (fd, peer) in &mut pairs {
                expect(peer, &[round; 3000]);
                until(|| !w.engine.in_custody(*fd));
                // A plain write has it promise again.
                assert_eq!(h.send(*fd, b"plain"), Ok(5));
                h.wait(4);
                expect(peer, b"plain");
            }
        }
        assert_eq!(w.count(Counter::Short), 12);
    }
}
