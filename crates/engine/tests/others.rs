//! Bytes that wait for a full socket, and others who are about to write on
//! it: programs that are run, processes that are handed the descriptor.
#![allow(missing_docs)]
mod common;
#[path = "common/full.rs"]
mod full;
#[path = "common/plan.rs"]
mod plan;

use common::*;
use esca_abi::stats::Slot;
use esca_engine::settings::Policy;
use full::Full;
use std::io::Read;
use std::os::fd::RawFd;
use std::sync::mpsc;
use std::time::Duration;

/// `f` hands the full stream to others, who then write on it.
fn others_write_behind(inherited: bool, f: impl FnOnce(&Hands, RawFd) + Send) {
    let Full {
        w,
        h,
        fd,
        mut peer,
        mut sent,
        drain,
    } = Full::new(Policy::Coalesce);
    let flags = if inherited { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: numbers.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFD, flags) }, 0);
    let (returned, has_returned) = mpsc::channel();
    std::thread::scope(|s| {
        s.spawn(move || {
            f(&w.hands(), fd);
            let _ = returned.send(());
            until(|| {
                let text = b"others";
                // SAFETY: a live slice.
                6 == unsafe { libc::send(fd, text.as_ptr().cast(), 6, libc::MSG_DONTWAIT) }
            });
        });
        // Room appears in the socket; what is left over is not sent yet.
        peer.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut first = vec![0; 1024];
        peer.read_exact(&mut first).unwrap();
        assert!(first == sent[..1024]);
        sent.drain(..1024);
        assert!(has_returned.try_recv().is_err(), "it did not wait");
        drain.stop(None);
        expect(&mut peer, &sent);
        expect(&mut peer, b"others");
    });
    assert!(!h.engine.in_custody(fd));
}

#[test]
fn a_program_that_is_run_writes_behind_the_bytes() {
    others_write_behind(true, |h, _| h.engine.before_spawn(&Slot::new()));
}

#[test]
fn a_process_that_is_handed_the_stream_writes_behind_the_bytes() {
    others_write_behind(false, |h, fd| h.engine.leave_alone(h.seg, fd));
}

#[test]
fn a_program_that_does_not_get_the_stream_is_run_at_once() {
    let Full {
        w,
        fd,
        mut peer,
        sent,
        drain,
        ..
    } = Full::new(Policy::Coalesce);
    // SAFETY: numbers.
    let set = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    assert_eq!(set, 0);
    w.engine.before_spawn(&Slot::new());
    assert!(w.engine.in_custody(fd));
    drain.stop(None);
    expect(&mut peer, &sent);
}
