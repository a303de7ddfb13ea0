//! Every answer the kernel (or a backend) can give to a flush, at every
//! position of small messages, in every way a flush comes about: what the
//! program is told and what its peer gets, byte by byte.
#![allow(missing_docs)]
mod common;
#[path = "common/plan.rs"]
mod plan;

use common::*;
use esca_abi::stats::Counter;
use esca_engine::Engine;
use esca_engine::settings::Policy;
use libc::{EAGAIN, ECONNRESET, EINTR, ENOBUFS, ENOMEM, EPIPE};
use plan::{Fault, Plan, planned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

const POLICIES: [Policy; 2] = [Policy::Coalesce, Policy::Batch];

/// Nothing is taken, and nothing is wrong with the socket: it comes later.
const LATER: [i32; 4] = [EAGAIN, EINTR, ENOBUFS, ENOMEM];
/// Of the backend, not of the socket: it is done by plain calls.
const STOPPED: [i32; 9] = [
    libc::ENOSYS,
    libc::EOPNOTSUPP,
    libc::ENODEV,
    libc::ENXIO,
    libc::ENOTTY,
    libc::EBADFD,
    libc::ECANCELED,
    libc::EINVAL,
    libc::EFAULT,
];
/// Of the connection: reported, and the bytes are dropped as the kernel would.
const BROKEN: [i32; 4] = [
    ECONNRESET,
    libc::ETIMEDOUT,
    libc::EHOSTUNREACH,
    libc::ENETDOWN,
];

/// All faults after which every byte must arrive, for a flush of `n` bytes.
fn harmless(n: usize) -> Vec<Fault> {
    let errnos = LATER.iter().chain(&STOPPED).map(|e| Fault::Errno(*e));
    let short = (0..=n).map(Fault::Short);
    short.chain(errnos).chain([Fault::NotDone]).collect()
}

/// Closes and gives all that the peer gets until its end of stream.
fn rest(h: &Hands, fd: RawFd, peer: &mut TcpStream) -> Vec<u8> {
    h.close(fd);
    let mut got = Vec::new();
    peer.set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    peer.read_to_end(&mut got).unwrap();
    got
}

/// Says until it is taken: a stream with something left says EAGAIN.
fn say(h: &Hands, fd: RawFd, bytes: &[u8]) {
    let mut last = Ok(0);
    until(|| {
        last = h.send(fd, bytes);
        last != Err(EAGAIN)
    });
    assert_eq!(last, Ok(bytes.len()));
}

/// One case for each policy and fault, on a fresh connection each.
fn each(faults: &[Fault], case: impl FnMut(&World, &Hands, &Plan, Fault)) {
    each_on(Engine::without_age, faults, case);
}

fn each_on(
    change: fn(Engine) -> Engine,
    faults: &[Fault],
    mut case: impl FnMut(&World, &Hands, &Plan, Fault),
) {
    for policy in POLICIES {
        let (w, plan, _) = planned(policy, change);
        let h = w.hands();
        for fault in faults {
            case(&w, &h, &plan, *fault);
            assert!(plan.is_over(), "{fault:?} did not happen");
        }
        assert!(w.count(Counter::Deferred) > 0);
    }
}

#[test]
fn at_a_wait() {
    each(&harmless(8), |w, h, plan, fault| {
        let (fd, mut peer) = w.pair(None);
        assert_eq!(h.more(fd, b"abc"), Ok(3));
        assert_eq!(h.more(fd, b"defgh"), Ok(5));
        plan.next(&[fault]);
        h.wait(1);
        // The program does nothing more, and the bytes come all the same.
        expect(&mut peer, b"abcdefgh");
        say(h, fd, b"next");
        assert!(rest(h, fd, &mut peer) == b"next", "{fault:?}");
    });
}

/// Two streams in one table, of two pieces each: the fault of one is not the
/// other's.
#[test]
fn in_a_table_of_streams() {
    let (w, plan, _) = planned(Policy::Batch, Engine::without_age);
    let h = w.hands();
    let faults = harmless(6);
    for (i, &one) in faults.iter().enumerate() {
        // The same, none, and some other one for the second stream.
        for two in [one, Fault::None, faults[(i * 7 + 3) % faults.len()]] {
            let (a, mut pa) = w.pair(None);
            let (b, mut pb) = w.pair(None);
            h.wait(4);
            for (fd, bytes) in [(a, b"abc"), (b, b"uvw"), (a, b"def"), (b, b"xyz")] {
                assert_eq!(h.more(fd, bytes), Ok(3));
            }
            plan.next(&[one, two]);
            h.wait(1);
            expect(&mut pa, b"abcdef");
            expect(&mut pb, b"uvwxyz");
            assert!(plan.is_over());
            assert!(rest(&h, a, &mut pa).is_empty(), "{one:?} {two:?}");
            assert!(rest(&h, b, &mut pb).is_empty(), "{one:?} {two:?}");
        }
    }
    assert!(w.count(Counter::Deferred) > 0);
}

/// A write too large to copy takes custody along.
#[test]
fn under_a_large_write() {
    const HEAD: &[u8] = b"header";
    let body = pattern(20_000, 4);
    let mut faults = harmless(HEAD.len() + 3);
    faults.push(Fault::Short(HEAD.len() + body.len()));
    each(&faults, |w, h, plan, fault| {
        let (fd, mut peer) = w.pair(None);
        assert_eq!(h.more(fd, HEAD), Ok(HEAD.len()));
        plan.next(&[fault]);
        let before = w.count(Counter::DeferredBytes);
        let n = h.write(fd, &body);
        assert_eq!(w.count(Counter::DeferredBytes), before, "it was copied");
        let sent = match (n, fault) {
            // Plain calls did all of it.
            (Ok(n), Fault::Errno(e)) if STOPPED.contains(&e) => n,
            // What was left of the header may have drained in between.
            (Ok(n), Fault::Errno(_) | Fault::NotDone) => n,
            (Ok(n), Fault::Short(k)) if k > HEAD.len() => {
                assert_eq!(n, k - HEAD.len());
                n
            }
            (Ok(n), Fault::Short(k)) if k < HEAD.len() => n,
            (Err(EAGAIN), _) => 0,
            other => panic!("{other:?}"),
        };
        expect(&mut peer, HEAD);
        assert!(rest(h, fd, &mut peer) == body[..sent], "{fault:?}");
    });
}

#[test]
fn before_a_file() {
    let body = pattern(60_000, 3);
    let file = file(&body);
    each(&harmless(6), |w, h, plan, fault| {
        let (fd, mut peer) = w.pair(None);
        assert_eq!(h.more(fd, b"header"), Ok(6));
        plan.next(&[fault]);
        let mut at = 0;
        let mut sent = 0;
        match h.sendfile(fd, file.as_raw_fd(), Some(&mut at), body.len()) {
            Ok(n) => sent = n,
            Err(e) => assert_eq!(e, EAGAIN),
        }
        assert_eq!(at, sent as i64);
        expect(&mut peer, b"header");
        assert!(rest(h, fd, &mut peer) == body[..sent], "{fault:?}");
    });
}

#[test]
fn at_the_end_of_a_stream() {
    each(&harmless(5), |w, h, plan, fault| {
        // close
        let (fd, mut peer) = w.pair(None);
        h.more(fd, b"close").unwrap();
        plan.next(&[fault]);
        assert!(rest(h, fd, &mut peer) == b"close", "{fault:?}");
        // shutdown
        let (fd, mut peer) = w.pair(None);
        h.more(fd, b"close").unwrap();
        plan.next(&[fault]);
        assert_eq!(h.shutdown(fd, libc::SHUT_WR), Ok(0));
        expect(&mut peer, b"close");
        expect_end(&mut peer);
        assert_eq!(h.send(fd, b"x"), Err(EPIPE));
        h.close(fd);
        // A close in another thread.
        let (fd, mut peer) = w.pair(None);
        h.more(fd, b"close").unwrap();
        plan.next(&[fault]);
        let other = w.hands();
        assert!(rest(&other, fd, &mut peer) == b"close", "{fault:?}");
        other.engine.leave_thread(other.seg);
    });
}

#[test]
fn of_the_sweeper() {
    each_on(
        |engine| engine,
        &harmless(4),
        |w, h, plan, fault| {
            let (fd, mut peer) = w.pair(None);
            plan.next(&[fault]);
            h.more(fd, b"long").unwrap();
            // No further call: the sweeper hands it over.
            expect(&mut peer, b"long");
            assert!(rest(h, fd, &mut peer).is_empty(), "{fault:?}");
        },
    );
}

#[test]
fn of_another_thread() {
    each(&harmless(4), |w, h, plan, fault| {
        let (fd, mut peer) = w.pair(None);
        h.more(fd, b"mine").unwrap();
        plan.next(&[fault]);
        let other = w.hands();
        say(&other, fd, b"theirs");
        other.engine.leave_thread(other.seg);
        assert!(rest(h, fd, &mut peer) == b"minetheirs", "{fault:?}");
    });
}

#[test]
fn of_an_explicit_segment() {
    each(&harmless(6), |w, h, plan, fault| {
        let (fd, mut peer) = w.pair(None);
        assert!(h.engine.begin(h.seg, 2));
        h.write(fd, b"abcd").unwrap();
        h.write(fd, b"ef").unwrap();
        plan.next(&[fault]);
        assert_eq!(h.engine.end(h.seg), Some(2));
        let mut got = Vec::new();
        h.engine.results(h.seg, |_, r| got.push(r.result));
        let again = -i64::from(EAGAIN);
        let want = match fault {
            Fault::Short(0) => [again, again],
            Fault::Short(k @ 1..=4) => [k as i64, again],
            Fault::Short(k) => [4, k as i64 - 4],
            Fault::Errno(e) if STOPPED.contains(&e) => [4, 2],
            Fault::Errno(e) => [-i64::from(e); 2],
            Fault::None | Fault::NotDone => [4, 2],
        };
        assert_eq!(got, want, "{fault:?}");
        assert!(rest(h, fd, &mut peer) == b"abcdef", "{fault:?}");
    });
}

/// What a broken connection says is said by the next call, once.
#[test]
fn errors_arrive_once() {
    let errnos = BROKEN.map(Fault::Errno);
    each(&errnos, |w, h, plan, fault| {
        let Fault::Errno(e) = fault else { return };
        let broken = |h: &Hands| {
            let (fd, peer) = w.pair(None);
            h.more(fd, b"lost").unwrap();
            plan.next(&[fault]);
            h.wait(1);
            (fd, peer)
        };
        let (fd, mut peer) = broken(h);
        assert_eq!(h.send(fd, b"x"), Err(e));
        assert_eq!(h.send(fd, b"after"), Ok(5));
        assert!(rest(h, fd, &mut peer) == b"after");

        let (fd, mut peer) = broken(h);
        assert_eq!(h.read(fd, &mut [0; 8]), Err(e));
        assert_eq!(h.read(fd, &mut [0; 8]), Err(EAGAIN));
        assert!(rest(h, fd, &mut peer).is_empty());

        let (fd, mut peer) = broken(h);
        let option = || h.get_option(fd, libc::SOL_SOCKET, libc::SO_ERROR);
        assert_eq!(option(), e);
        assert_eq!(option(), 0);
        // Bytes that arrived before the error are read first.
        plan.next(&[Fault::None]);
        h.more(fd, b"kept").unwrap();
        h.wait(1);
        assert!(rest(h, fd, &mut peer) == b"kept");

        // Under a large write: the write itself says it.
        let (fd, mut peer) = w.pair(None);
        h.more(fd, b"lost").unwrap();
        plan.next(&[fault]);
        assert_eq!(h.write(fd, &pattern(20_000, 1)), Err(e));
        assert_eq!(h.send(fd, b"after"), Ok(5));
        assert!(rest(h, fd, &mut peer) == b"after");

        // Before a file, and with input that came before the error.
        let (fd, mut peer) = w.pair(None);
        h.more(fd, b"lost").unwrap();
        peer.write_all(b"input").unwrap();
        plan.next(&[fault]);
        assert_eq!(h.sendfile(fd, -1, None, 100_000), Err(e));
        let mut room = [0; 5];
        until(|| h.read(fd, &mut room) == Ok(5));
        assert_eq!(&room, b"input");
        assert!(rest(h, fd, &mut peer).is_empty());
    });
}

/// EPIPE is left to the kernel, which says it with its signal.
#[test]
fn a_broken_pipe_is_the_kernels_to_report() {
    each(&[Fault::Errno(EPIPE)], |w, h, plan, fault| {
        let (fd, mut peer) = w.pair(None);
        h.more(fd, b"lost").unwrap();
        plan.next(&[fault]);
        h.wait(1);
        // This socket is well, so the kernel takes the call.
        assert_eq!(h.send(fd, b"after"), Ok(5));
        assert!(rest(h, fd, &mut peer) == b"after");
    });
}

/// What was left over meets faults again, at each position.
#[test]
fn while_draining() {
    let later = LATER.map(Fault::Errno);
    for policy in POLICIES {
        let (w, flush, drain) = planned(policy, Engine::without_age);
        let h = w.hands();
        for at in 0..6 {
            for fault in later.iter().copied().chain((0..6).map(Fault::Short)) {
                let (fd, mut peer) = w.pair(None);
                h.more(fd, b"abcdef").unwrap();
                drain.next(&[Fault::Short(1), fault]);
                flush.next(&[Fault::Short(at)]);
                h.wait(1);
                if fault == Fault::Errno(EAGAIN) {
                    // No event comes of an invented EAGAIN: the program's
                    // next write tries again.
                    say(&h, fd, b"!");
                    assert!(rest(&h, fd, &mut peer) == b"abcdef!");
                } else {
                    expect(&mut peer, b"abcdef");
                    assert!(rest(&h, fd, &mut peer).is_empty(), "{at} {fault:?}");
                }
                // The rest may have been one byte, and the fault not met.
                until(|| {
                    let (other, _peer) = w.pair(None);
                    h.more(other, b"xyz").unwrap();
                    flush.next(&[Fault::Short(0)]);
                    h.wait(1);
                    h.close(other);
                    drain.is_over()
                });
            }
        }
        assert!(w.count(Counter::Short) > 0);
    }
}

#[test]
fn an_error_while_draining_arrives_once() {
    for policy in POLICIES {
        let (w, flush, drain) = planned(policy, Engine::without_age);
        let h = w.hands();
        for e in BROKEN {
            for at in 0..4 {
                let (fd, mut peer) = w.pair(None);
                h.more(fd, b"abcd").unwrap();
                drain.next(&[Fault::Errno(e)]);
                flush.next(&[Fault::Short(at)]);
                h.wait(1);
                until(|| drain.is_over());
                assert_eq!(h.send(fd, b"x"), Err(e));
                assert_eq!(h.send(fd, b"after"), Ok(5));
                let want = [&b"abcd"[..at], b"after"].concat();
                assert!(rest(&h, fd, &mut peer) == want, "{e} at {at}");
            }
        }
        assert!(w.count(Counter::Short) > 0);
    }
}

/// The backend works for a while and then never again.
#[test]
fn a_backend_that_stops_in_the_middle() {
    for policy in POLICIES {
        for (k, e) in STOPPED.iter().enumerate() {
            let (w, plan, _) = planned(policy, Engine::without_age);
            let h = w.hands();
            let mut pairs: Vec<_> = (0..3).map(|_| w.pair(None)).collect();
            let mut want = vec![Vec::new(); 3];
            plan.next(&vec![Fault::None; k * 3]);
            plan.next(&[Fault::Short(2)]);
            plan.stop(Some(*e));
            for i in 0..60usize {
                let bytes = pattern(1 + i * 13 % 50, i as u8);
                let to = i * 7 % 3;
                // A stream whose rest drains says EAGAIN meanwhile.
                until(|| match h.more(pairs[to].0, &bytes) {
                    Ok(n) => {
                        assert_eq!(n, bytes.len());
                        true
                    }
                    Err(e) => {
                        assert_eq!(e, EAGAIN);
                        false
                    }
                });
                want[to].extend(bytes);
                if i % 5 == 4 {
                    h.wait(3);
                }
            }
            for ((fd, peer), want) in pairs.iter_mut().zip(&want) {
                assert!(&rest(&h, *fd, peer) == want, "{e} after {k}");
            }
            assert!(w.count(Counter::Deferred) > 0);
            assert_eq!(w.count(Counter::AsyncErrors), 0);
        }
    }
}
