//! Several streams in one segment, written to in turns, by every call.

use crate::sys;
use crate::{Actor, Scene};
use esca_suite::scenario::{STREAM_BYTES, STREAMS};
use esca_suite::site::noise;
use std::fs::File;
use std::os::fd::AsRawFd;

pub const SCENES: &[(&str, Scene)] = &[
    ("interleaved", |a| interleaved(a, 300)),
    ("interleaved-larger", |a| interleaved(a, 40_000)),
];

/// Pieces of up to `most` bytes for streams drawn by lot.
fn interleaved(a: &Actor, most: usize) {
    let all: Vec<Vec<u8>> = (0..STREAMS)
        .map(|i| noise(100 + i as u64, STREAM_BYTES))
        .collect();
    let files: Vec<File> = (0..STREAMS)
        .map(|i| {
            let path = format!("{}/file{i}", a.dir);
            std::fs::write(&path, &all[i]).expect("a file");
            File::open(&path).expect("a file")
        })
        .collect();
    let fds: Vec<i32> = (0..STREAMS).map(|_| a.connection()).collect();
    let mut at = [0; STREAMS];
    a.turn(fds[0]);
    let lots = noise(7, 1 << 20);
    for (round, lot) in lots.chunks_exact(5).cycle().enumerate() {
        let left: Vec<usize> = (0..STREAMS).filter(|&i| at[i] < STREAM_BYTES).collect();
        if left.is_empty() {
            break;
        }
        if round % 50 == 49 {
            // A new segment.
            sys::epoll_wait(a.epoll, 0);
        }
        let i = left[usize::from(lot[0]) % left.len()];
        let want = usize::from(lot[1]) << 8 | usize::from(lot[2]);
        let n = (want % most + 1).min(STREAM_BYTES - at[i]);
        let mut copy = all[i][at[i]..at[i] + n].to_vec();
        let sent = match lot[3] % 4 {
            0 => sys::write(fds[i], &copy),
            1 => sys::writev(fds[i], [&copy[..n / 3], &copy[n / 3..]]),
            2 => sys::send(fds[i], &copy, libc::MSG_NOSIGNAL),
            _ => sys::sendfile(fds[i], files[i].as_raw_fd(), &mut (at[i] as i64), n),
        };
        copy.fill(b'!');
        match sent {
            Ok(n) => at[i] += n,
            Err(libc::EAGAIN) => a.room(fds[i]),
            Err(e) => return a.log(format_args!("FAIL piece {round}: errno {e}")),
        }
    }
    for fd in fds {
        a.saw("close", sys::close(fd));
    }
}
