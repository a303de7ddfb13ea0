//! Operation tables with any opcode, flags, descriptors and lengths: each
//! gets a result that its operation can have, a stream gets exactly the bytes
//! that the results claim, and a cancelled operation sends none.
#![no_main]

use arbitrary::Arbitrary;
use esca_engine::backend::{Backend, Direct, F_LINK, Op, OpCode};
use libfuzzer_sys::fuzz_target;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

#[derive(Arbitrary, Debug)]
struct Entry {
    opcode: u8,
    flags: u32,
    /// 0 and 1: streams; 2: a pipe's end; 3: no descriptor; 4: not open.
    to: u8,
    pieces: Vec<Vec<u8>>,
    rest: (u32, u32, u64, u64),
    fd2: i32,
}

fuzz_target!(|entries: Vec<Entry>| {
    let entries = &entries[..entries.len().min(32)];
    let streams = [(); 2].map(|()| UnixStream::pair().expect("a pair"));
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let fds = [
        streams[0].0.as_raw_fd(),
        streams[1].0.as_raw_fd(),
        writer.as_raw_fd(),
        -1,
        i32::MAX,
    ];
    let iovecs: Vec<Vec<libc::iovec>> = entries
        .iter()
        .map(|e| {
            let piece = |p: &Vec<u8>| libc::iovec {
                iov_base: p.as_ptr().cast_mut().cast(),
                iov_len: p.len(),
            };
            e.pieces.iter().take(8).map(piece).collect()
        })
        .collect();
    let empty = Vec::new();
    let mut table: Vec<Op> = entries
        .iter()
        .zip(&iovecs)
        .map(|(e, iov)| {
            // Addresses are the caller's promise; all else is as it comes.
            let one = e.pieces.first().unwrap_or(&empty);
            let (ptr, len) = if u32::from(e.opcode) == OpCode::SendMsg as u32 {
                (iov.as_ptr() as u64, iov.len() as u64)
            } else {
                (one.as_ptr() as u64, one.len() as u64)
            };
            Op {
                opcode: e.opcode.into(),
                flags: e.flags,
                fd: fds[usize::from(e.to) % fds.len()],
                fd2: e.fd2,
                ptr,
                len,
                arg: e.rest.0,
                arg2: e.rest.1,
                off: e.rest.2,
                reserved: e.rest.3,
                result: 77,
            }
        })
        .collect();
    // SAFETY: the pieces and iovecs live until the end.
    unsafe { Direct.run(&mut table) };
    let mut want = [Vec::new(), Vec::new()];
    let mut cancelled = Vec::new();
    for ((op, e), iov) in table.iter().zip(entries).zip(&iovecs) {
        let bytes: Vec<u8> = if op.opcode == OpCode::SendMsg as u32 {
            e.pieces.iter().take(iov.len()).flatten().copied().collect()
        } else if op.opcode == OpCode::Send as u32 {
            e.pieces.first().cloned().unwrap_or_default()
        } else {
            Vec::new()
        };
        assert!((-4095..=bytes.len() as i64).contains(&op.result), "{op:?}");
        if cancelled.contains(&op.fd) {
            assert_eq!(op.result, -i64::from(libc::ECANCELED), "{op:?}");
            continue;
        }
        if op.fd < 0 {
            assert_eq!(op.result, -i64::from(libc::EBADF));
        }
        let sent = usize::try_from(op.result).unwrap_or(0);
        if let Some(k) = fds[..2].iter().position(|fd| *fd == op.fd) {
            want[k].extend_from_slice(&bytes[..sent]);
        }
        if op.flags & F_LINK != 0 && op.result != bytes.len() as i64 {
            cancelled.push(op.fd);
        }
    }
    for ((own, mut peer), want) in streams.into_iter().zip(want) {
        drop(own);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).expect("read");
        assert_eq!(got, want);
    }
});
