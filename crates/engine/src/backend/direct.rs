//! Backend `direct`: one plain, non-blocking system call an operation.

use super::{Backend, F_LINK, F_MORE, Op, OpCode};
use esca_abi::op::NOT_DONE;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, send, sendmsg};
use std::io::IoSlice;

/// Plain system calls.
pub struct Direct;

const SEND: u32 = OpCode::Send as u32;
const SENDMSG: u32 = OpCode::SendMsg as u32;
const NOP: u32 = OpCode::Nop as u32;

impl Backend for Direct {
    #[inline]
    unsafe fn run(&self, ops: &mut [Op]) -> u32 {
        let mut entries = 0;
        ops.iter_mut().for_each(|op| op.result = NOT_DONE);
        for i in 0..ops.len() {
            let op = &mut ops[i];
            if op.result != NOT_DONE {
                continue;
            }
            entries += 1;
            // SAFETY: the caller's promise for this operation.
            let (asked, done) = unsafe { one(op) };
            op.result = match done {
                Ok(n) => n as i64,
                Err(e) => -i64::from(e.raw_os_error()),
            };
            if op.flags & F_LINK != 0 && op.result != asked as i64 {
                let fd = op.fd;
                for later in ops[i + 1..].iter_mut().filter(|o| o.fd == fd) {
                    later.result = -i64::from(Errno::CANCELED.raw_os_error());
                }
            }
        }
        entries
    }
}

/// Runs one operation; gives what a full result would be, and the result.
///
/// # Safety
/// As for [`Backend::run`].
#[inline]
unsafe fn one(op: &Op) -> (usize, rustix::io::Result<usize>) {
    let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if op.flags & F_MORE != 0 {
        flags |= SendFlags::MORE;
    }
    if op.fd < 0 {
        return (0, Err(Errno::BADF));
    }
    // SAFETY: the number is only passed to the kernel, which checks it; it
    // is not -1.
    let fd = unsafe { BorrowedFd::borrow_raw(op.fd) };
    match op.opcode {
        NOP => (0, Ok(0)),
        SEND => {
            // SAFETY: ptr is valid for len bytes (caller).
            let b = unsafe { std::slice::from_raw_parts(op.ptr as *const u8, op.len as usize) };
            (b.len(), send(fd, b, flags))
        }
        SENDMSG => {
            // SAFETY: ptr points to len iovecs, each valid (caller); IoSlice
            // has the layout of iovec.
            let v =
                unsafe { std::slice::from_raw_parts(op.ptr as *const IoSlice, op.len as usize) };
            let asked = v.iter().map(|p| p.len()).sum();
            (
                asked,
                sendmsg(fd, v, &mut SendAncillaryBuffer::default(), flags),
            )
        }
        _ => (0, Err(Errno::OPNOTSUPP)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    fn op(fd: i32, bytes: &[u8], flags: u32) -> Op {
        Op {
            opcode: SEND,
            flags,
            fd,
            ptr: bytes.as_ptr() as u64,
            len: bytes.len() as u64,
            ..Op::nop()
        }
    }

    #[test]
    fn each_operation_has_its_own_result() {
        let (a, mut b) = UnixStream::pair().unwrap();
        let mut table = [
            op(a.as_raw_fd(), b"one ", 0),
            op(-1, b"bad", 0),
            op(a.as_raw_fd(), b"two", 0),
        ];
        // SAFETY: the addresses are those of live literals.
        let entries = unsafe { Direct.run(&mut table) };
        assert_eq!(entries, 3);
        assert_eq!(table.map(|o| o.result), [4, -9, 3]);
        drop(a);
        let mut got = String::new();
        b.read_to_string(&mut got).unwrap();
        assert_eq!(got, "one two");
    }

    #[test]
    fn each_failed_link_cancels_its_own_stream() {
        let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
        let [a, b, c] = [0, 1, 2].map(|i: usize| pairs[i].0.as_raw_fd());
        pairs[..2].iter().for_each(|(_, peer)| {
            peer.shutdown(std::net::Shutdown::Both).unwrap();
        });
        let mut table = [
            op(a, b"1", F_LINK),
            op(b, b"2", F_LINK),
            op(a, b"3", 0),
            op(c, b"4", 0),
            op(b, b"5", 0),
        ];
        // SAFETY: as above.
        unsafe { Direct.run(&mut table) };
        assert_eq!(table.map(|o| o.result), [-32, -32, -125, 1, -125]);
    }

    #[test]
    fn a_failed_link_cancels_its_stream() {
        let (a, b) = UnixStream::pair().unwrap();
        drop(b);
        let fd = a.as_raw_fd();
        let mut table = [op(fd, b"x", F_LINK), op(fd, b"y", 0)];
        // SAFETY: as above.
        unsafe { Direct.run(&mut table) };
        assert_eq!(table.map(|o| o.result), [-32, -125]);
    }
}
