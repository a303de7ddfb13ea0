//! Two threads on one stream: a promise is never made while another thread's
//! plain call is under way, because that call could come between the part
//! that the kernel takes of the promise and the rest.
#![allow(missing_docs)]
mod common;

use common::*;
use esca_abi::stats::Counter;
use esca_engine::settings::Policy;
use esca_engine::{Asks, Bytes, OpKind, Verdict, WriteCall};

const POLICIES: [Policy; 2] = [Policy::Coalesce, Policy::Batch];

fn large(fd: i32, bytes: &[u8]) -> WriteCall {
    WriteCall {
        fd,
        kind: OpKind::Write,
        flags: 0,
        bytes: Bytes::One(bytes.as_ptr(), bytes.len()),
    }
}

#[test]
fn nothing_is_promised_during_another_threads_plain_write() {
    for policy in POLICIES {
        let w = world(policy);
        let (one, other) = (w.hands(), w.hands());
        let (fd, mut peer) = w.pair(None);
        let bytes = pattern(50_000, 1);
        one.wait(1);
        other.wait(1);
        // SAFETY: live bytes. The call itself is made below.
        let verdict = unsafe { other.engine.write(other.seg, &large(fd, &bytes)) };
        assert_eq!(verdict, Verdict::Pass);
        assert_eq!(one.more(fd, b"now"), Ok(3));
        assert_eq!(w.count(Counter::Deferred), 0, "{policy:?}");
        other
            .engine
            .after_write(other.seg, fd, OpKind::Write, 0, -1);
        assert_eq!(one.more(fd, b"later"), Ok(5));
        assert_eq!(w.count(Counter::Deferred), 1, "{policy:?}");
        one.wait(1);
        expect(&mut peer, b"nowlater");
    }
}

#[test]
fn nothing_is_promised_during_a_plain_write_that_began_before_the_thread() {
    for policy in POLICIES {
        let w = world(policy);
        let one = w.hands();
        let (fd, mut peer) = w.pair(None);
        let bytes = pattern(50_000, 1);
        one.wait(1);
        one.engine.before_thread();
        // SAFETY: live bytes. The call itself is made below.
        let verdict = unsafe { one.engine.write(one.seg, &large(fd, &bytes)) };
        assert_eq!(verdict, Verdict::Pass);
        let other = w.hands();
        other.wait(1);
        assert_eq!(other.more(fd, b"now"), Ok(3));
        assert_eq!(w.count(Counter::Deferred), 0, "{policy:?}");
        one.engine.after_write(one.seg, fd, OpKind::Write, 0, -1);
        assert_eq!(other.more(fd, b"later"), Ok(5));
        assert_eq!(w.count(Counter::Deferred), 1, "{policy:?}");
        other.wait(1);
        expect(&mut peer, b"nowlater");
    }
}

#[test]
fn nothing_is_promised_during_another_threads_sendfile_or_splice() {
    for policy in POLICIES {
        let w = world(policy);
        let (one, other) = (w.hands(), w.hands());
        let (fd, mut peer) = w.pair(None);
        let (engine, seg) = (other.engine, other.seg);
        let none = std::ptr::null_mut();
        one.wait(1);
        other.wait(1);
        // Behind a head of the thread's own, and by itself.
        for verdict in [Verdict::PassHeld, Verdict::Pass] {
            let before = w.count(Counter::Deferred);
            if verdict == Verdict::PassHeld {
                assert_eq!(other.more(fd, b"head"), Ok(4));
            }
            // SAFETY: no offset. The file would be too large to read.
            let got = unsafe { engine.sendfile(seg, fd, -1, none, 1 << 20) };
            assert_eq!(got, verdict, "{policy:?}");
            let during = w.count(Counter::Deferred);
            assert_eq!(one.more(fd, b"a"), Ok(1));
            assert_eq!(w.count(Counter::Deferred), during, "{policy:?}");
            engine.after_sendfile(seg, fd, false, 0);
            assert_eq!(one.more(fd, b"b"), Ok(1));
            assert!(w.count(Counter::Deferred) > before, "{policy:?}");
            one.wait(1);
        }
        assert_eq!(engine.send_behind(seg, fd, || Asks::Bytes), Verdict::Pass);
        let during = w.count(Counter::Deferred);
        assert_eq!(one.more(fd, b"c"), Ok(1));
        assert_eq!(w.count(Counter::Deferred), during, "{policy:?}");
        engine.landed(seg);
        assert_eq!(one.more(fd, b"d"), Ok(1));
        assert_eq!(w.count(Counter::Deferred), during + 1, "{policy:?}");
        one.wait(1);
        expect(&mut peer, b"headababcd");
    }
}
