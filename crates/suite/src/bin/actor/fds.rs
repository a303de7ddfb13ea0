//! Descriptors: duplicates, numbers, closing ranges, passing them on.

use crate::sys;
use crate::{Actor, Scene};

pub const SCENES: &[(&str, Scene)] = &[
    ("dup", dup),
    ("lowest", lowest),
    ("close-range", close_range),
    ("pass", pass),
];

/// One stream by several numbers: the order is that of the calls.
fn dup(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.saw("a", sys::write(fd, b"a"));
    let second = sys::dup(fd);
    a.saw("dup", second);
    let second = second.unwrap_or(0) as i32;
    a.saw("b", sys::write(second, b"b"));
    a.saw("c", sys::write(fd, b"c"));
    a.saw("dup2", sys::dup2(second, 60));
    a.saw("d", sys::write(60, b"d"));
    a.saw("e", sys::write(second, b"e"));
    a.saw("close", sys::close(fd));
    a.saw("f", sys::write(60, b"f"));
    a.saw("close", sys::close(60));
    a.saw("g", sys::write(second, b"g"));
    // dup2 over a stream with bytes in custody closes that stream's number.
    let null = sys::open(c"/dev/null").unwrap_or(0) as i32;
    a.saw("dup2 over it", sys::dup2(null, second));
    a.saw("into the void", sys::write(second, b"h"));
}

/// The lowest free number is given out, whatever was closed just before.
fn lowest(a: &Actor) {
    let fd = a.connection();
    // The peer has a second connection waiting.
    a.watch(a.listener, 0);
    a.turn(fd);
    a.log(format_args!("first {fd}"));
    a.saw("write", sys::write(fd, b"one"));
    a.saw("write", sys::write(fd, b"two"));
    a.saw("close", sys::close(fd));
    let next = sys::accept(a.listener);
    a.saw("accept", next);
    let next = next.unwrap_or(0) as i32;
    a.saw("write", sys::write(next, b"three"));
    a.saw("write", sys::write(next, b"four"));
    a.saw("close", sys::close(next));
    for _ in 0..3 {
        let file = sys::open(c"/dev/null");
        a.saw("open", file);
        a.saw("socket", sys::socket());
        a.saw("dup", sys::dup(0));
        a.saw("dup from 50", sys::dup_from(0, 50));
        let mut ends = [0; 2];
        a.saw("pipe", sys::pipe(&mut ends));
        a.log(format_args!("ends {ends:?}"));
        a.saw("close", sys::close(file.unwrap_or(0) as i32));
    }
}

/// close_range over a stream with bytes in custody.
fn close_range(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.saw("write", sys::write(fd, b"la"));
    a.saw("write", sys::write(fd, b"st"));
    a.saw("close_range", sys::close_range(fd, fd));
    a.saw("write to it", sys::write(fd, b"no"));
    a.check("the second call", a.next().0 == a.listener);
}

/// A descriptor passed to another process, which writes before we go on.
fn pass(a: &Actor) {
    let mut ends = [0; 2];
    a.saw("socketpair", sys::unix_pair(&mut ends));
    let fd = a.connection();
    for _ in 0..5 {
        let child = match sys::fork() {
            Ok(0) => {
                let got = sys::recv_fd(ends[1]).map_or(-1, |n| n as i32);
                a.check("the child's write", sys::write(got, b"child ") == Ok(6));
                sys::exit_now(0);
            }
            child => child.unwrap_or(0),
        };
        a.turn(fd);
        a.saw("write", sys::write(fd, b"par"));
        a.saw("write", sys::write(fd, b"ent "));
        a.saw("sendmsg", sys::send_fd(ends[0], fd));
        a.saw("child", sys::wait(child));
        a.saw("write", sys::write(fd, b"after "));
    }
    a.until_closed(fd);
}
