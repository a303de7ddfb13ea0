//! Backend `direct`: one plain, non-blocking system call an operation.

use super::{Backend, F_MORE, Op, OpCode, cancel_behind};
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
        let mut rest = ops;
        while let Some((op, behind)) = rest.split_first_mut() {
            if op.result == NOT_DONE {
                entries += 1;
                // SAFETY: the caller's promise for this operation.
                op.result = match unsafe { one(op) } {
                    Ok(n) => n as i64,
                    Err(e) => -i64::from(e.raw_os_error()),
                };
                // SAFETY: as above.
                unsafe { cancel_behind(op, behind) };
            }
            rest = behind;
        }
        entries
    }
}

/// Runs one operation.
///
/// # Safety
/// As for [`Backend::run`].
#[inline]
unsafe fn one(op: &Op) -> rustix::io::Result<usize> {
    let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if op.flags & F_MORE != 0 {
        flags |= SendFlags::MORE;
    }
    if op.fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the number is only passed to the kernel, which checks it; it
    // is not -1.
    let fd = unsafe { BorrowedFd::borrow_raw(op.fd) };
    match op.opcode {
        NOP => Ok(0),
        SEND => {
            // SAFETY: ptr is valid for len bytes (caller).
            let b = unsafe { std::slice::from_raw_parts(op.ptr as *const u8, op.len as usize) };
            send(fd, b, flags)
        }
        SENDMSG => {
            // SAFETY: ptr points to len iovecs, each valid (caller); IoSlice
            // has the layout of iovec.
            let v =
                unsafe { std::slice::from_raw_parts(op.ptr as *const IoSlice, op.len as usize) };
            sendmsg(fd, v, &mut SendAncillaryBuffer::default(), flags)
        }
        _ => Err(Errno::OPNOTSUPP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{CANCELLED, F_LINK};
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
    fn a_failed_link_cancels_its_stream() {
        let (a, b) = UnixStream::pair().unwrap();
        drop(b);
        let fd = a.as_raw_fd();
        let mut table = [op(fd, b"x", F_LINK), op(fd, b"y", 0)];
        // SAFETY: as above.
        unsafe { Direct.run(&mut table) };
        assert_eq!(table.map(|o| o.result), [-32, -125]);
    }

    #[test]
    fn two_failed_links_cancel_two_streams() {
        let (a, b) = UnixStream::pair().unwrap();
        drop(b);
        let fd = a.as_raw_fd();
        let mut table = [
            op(fd, b"x", F_LINK),
            op(-1, b"x", F_LINK),
            op(fd, b"y", 0),
            op(-1, b"y", 0),
            Op {
                fd: 1,
                result: CANCELLED,
                ..Op::nop()
            },
        ];
        // SAFETY: as above.
        let entries = unsafe { Direct.run(&mut table) };
        assert_eq!(table.map(|o| o.result), [-32, -9, -125, -125, 0]);
        assert_eq!(entries, 3);
    }
}
