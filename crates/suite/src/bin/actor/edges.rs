//! The edges of read and write on a stream: arguments at which they and the
//! socket's own calls might differ (rule `socket-calls`).

use crate::sys;
use crate::{Actor, Scene};
use esca_suite::board::Flag;

pub const SCENES: &[(&str, Scene)] = &[("edges", edges)];

/// An address that no program has.
const NOWHERE: usize = 0x10;
/// More than any call takes.
const ALL: [usize; 2] = [usize::MAX, isize::MAX as usize + 1];

fn edges(a: &Actor) {
    let fd = a.connection();
    for n in ALL {
        a.saw("read too much", sys::read_at(fd, NOWHERE, n));
        a.saw("write too much", sys::write_at(fd, NOWHERE, n));
    }
    a.saw("read nothing", sys::read(fd, &mut []));
    a.saw("write nothing", sys::write(fd, &[]));
    a.saw("read none there is", sys::read(fd, &mut [0; 9]));
    a.saw("read to nowhere", sys::read_at(fd, NOWHERE, 9));
    a.saw("write from nowhere", sys::write_at(fd, NOWHERE, 9));
    a.board.set(Flag::Actor, 1);
    a.turn(fd);
    a.saw("read to nowhere", sys::read_at(fd, NOWHERE, 9));
    a.saw("write", sys::write(fd, b"whole"));
    blocking(a, fd);
    a.saw("shutdown", sys::shutdown_write(fd));
    a.saw("write nothing", sys::write(fd, &[]));
    a.saw("write shut", sys::write(fd, b"lost"));
    a.board.set(Flag::Other, 1);
    a.until_closed(fd);
    a.saw("read the end", sys::read(fd, &mut [0; 9]));
    a.saw("close", sys::close(fd));
    a.saw("read closed", sys::read(fd, &mut [0; 9]));
    a.saw("write closed", sys::write(fd, b"lost"));
}

/// Reads that wait: until a time limit, until a signal.
fn blocking(a: &Actor, fd: i32) {
    let mut off = 0;
    a.saw("blocking", sys::set_nonblocking(fd, &mut off));
    a.saw("a limit", sys::set_receive_limit(fd, &milliseconds(20)));
    a.saw("read till then", sys::read(fd, &mut [0; 9]));
    a.saw("no limit", sys::set_receive_limit(fd, &milliseconds(0)));
    sys::on_signal(libc::SIGALRM, ignore, 0);
    sys::every(20_000);
    a.saw("read till a signal", sys::read(fd, &mut [0; 9]));
    sys::every(0);
    let mut on = 1;
    a.saw("non-blocking", sys::set_nonblocking(fd, &mut on));
}

fn milliseconds(n: i64) -> libc::timeval {
    libc::timeval {
        tv_sec: 0,
        tv_usec: n * 1000,
    }
}

extern "C" fn ignore(_: i32) {}
