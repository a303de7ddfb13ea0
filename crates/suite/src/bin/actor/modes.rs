//! Streams that change their ways: blocking and back, SO_LINGER; and files
//! that change while their bytes are on the way.

use crate::sys;
use crate::{Actor, Scene, numbered};
use esca_suite::board::Flag;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsRawFd, IntoRawFd};

pub const SCENES: &[(&str, Scene)] = &[
    ("blocking", blocking),
    ("residue-blocking", residue_blocking),
    ("linger", linger),
    ("linger-off", linger_off),
    ("files", files),
];

/// The stream becomes blocking with bytes in custody, and non-blocking again.
fn blocking(a: &Actor) {
    let fd = a.connection();
    let all = numbered(6 << 20);
    let mut at = 0;
    let mut next = |n| {
        at += n;
        &all[at - n..at]
    };
    for round in 0..4 {
        a.turn(fd);
        a.saw("write", sys::write(fd, next(100)));
        a.saw("write", sys::write(fd, next(200)));
        if round % 2 == 0 {
            a.saw("F_SETFL", sys::set_flags(fd, 0));
        } else {
            a.saw("FIONBIO", sys::set_nonblocking(fd, &mut 0));
        }
        // More than fits: a blocking write takes it all.
        a.saw("write", sys::write(fd, next(1 << 20)));
        a.saw("write", sys::write(fd, next(300)));
        a.saw("F_SETFL", sys::set_flags(fd, libc::O_NONBLOCK));
        a.write_all(fd, next(400));
        a.write_all(fd, next(500));
    }
    a.until_closed(fd);
}

/// More was accepted than the kernel takes, and the program sits in a
/// blocking read: it goes out all the same.
fn residue_blocking(a: &Actor) {
    let (fd, other) = (a.connection(), a.connection());
    a.turn(fd);
    a.saw("F_SETFL", sys::set_flags(other, 0));
    a.fill(fd, 1000);
    let mut word = [0; 8];
    a.saw("read", sys::read(other, &mut word));
}

/// SO_LINGER with no time: close resets.
fn linger(a: &Actor) {
    let fd = a.connection();
    a.turn(fd);
    a.saw("write", sys::write(fd, b"la"));
    a.saw("write", sys::write(fd, b"st"));
    let now = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    a.saw("SO_LINGER", sys::set_linger(fd, &now));
    a.board.set(Flag::Actor, 1);
    a.check("the peer has read", a.compute_until(1));
    a.saw("close", sys::close(fd));
}

/// sendfile: past the end, from where the file stands, from a descriptor
/// that is closed and whose number is used again, from a file that grows.
fn files(a: &Actor) {
    let all = numbered(3000);
    let path = format!("{}/file", a.dir);
    std::fs::write(&path, &all[..1000]).expect("a file");
    let other = format!("{}/other", a.dir);
    std::fs::write(&other, [b'!'; 3000]).expect("a file");
    let open = |path| std::fs::File::open(path).expect("a file");
    let fd = a.connection();
    for _ in 0..3 {
        a.turn(fd);
        let file = open(&path);
        a.saw("head", sys::write(fd, b"head "));
        let mut offset = 900;
        a.saw(
            "past the end",
            sys::sendfile(fd, file.as_raw_fd(), &mut offset, 500),
        );
        a.log(format_args!("offset {offset}"));
        a.saw(
            "at the end",
            sys::sendfile(fd, file.as_raw_fd(), &mut offset, 500),
        );
        a.saw("on", sys::sendfile_on(fd, file.as_raw_fd(), 300));
        a.saw("position", sys::position(file.as_raw_fd()));
        a.saw("on", sys::sendfile_on(fd, file.as_raw_fd(), 300));
        a.saw("position", sys::position(file.as_raw_fd()));
        // Closed, and another file behind the number.
        let number = file.into_raw_fd();
        let mut offset = 100;
        a.saw("head", sys::write(fd, b"head "));
        a.saw("sendfile", sys::sendfile(fd, number, &mut offset, 800));
        a.saw("close", sys::close(number));
        let again = open(&other);
        a.check("the same number", again.as_raw_fd() == number);
        a.saw("no file", sys::sendfile(fd, -1, &mut offset, 10));
        a.saw("bad offset", sys::sendfile(fd, number, &mut -5, 10));
        drop(again);
    }
    // The file grows; what was beyond its end is sent now.
    a.turn(fd);
    let mut grow = OpenOptions::new().append(true).open(&path).expect("a file");
    let mut offset = 500;
    let file = open(&path);
    a.saw("head", sys::write(fd, b"head "));
    a.saw(
        "before",
        sys::sendfile(fd, file.as_raw_fd(), &mut offset, 2500),
    );
    grow.write_all(&all[1000..]).expect("written");
    a.saw(
        "after",
        sys::sendfile(fd, file.as_raw_fd(), &mut offset, 2500),
    );
    a.log(format_args!("offset {offset}"));
    a.until_closed(fd);
}

/// A stream that says it does not linger is as any other.
fn linger_off(a: &Actor) {
    let fd = a.connection();
    let off = libc::linger {
        l_onoff: 0,
        l_linger: 0,
    };
    a.saw("no linger", sys::set_linger(fd, &off));
    a.turn(fd);
    a.saw("write", sys::write(fd, b"one"));
    a.saw("write", sys::write(fd, b"two"));
    a.saw("no linger", sys::set_linger(fd, &off));
    a.saw("write", sys::write(fd, b"three"));
    a.saw("close", sys::close(fd));
}
