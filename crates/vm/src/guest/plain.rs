//! An operation by its plain system call, for comparison with the table.

use esca_abi::op::{F_LINK, F_MORE, Op, OpCode};
use std::io;

fn result(done: isize) -> i64 {
    if done < 0 {
        -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        done as i64
    }
}

/// Makes the plain call; gives its result.
pub fn one(op: &Op) -> i64 {
    let ptr = op.ptr as *mut libc::c_void;
    let len = op.len as usize;
    let more = if op.flags & F_MORE != 0 {
        libc::MSG_MORE
    } else {
        0
    };
    let flags = op.arg.cast_signed() | more;
    let code = |c: OpCode| c as u32 == op.opcode;
    // SAFETY: plain calls check what they are given; what they write goes to
    // memory that the test gave for it.
    let done = unsafe {
        if code(OpCode::Nop) {
            0
        } else if code(OpCode::Send) {
            libc::send(op.fd, ptr, len, flags)
        } else if code(OpCode::SendMsg) {
            let mut msg: libc::msghdr = std::mem::zeroed();
            msg.msg_iov = ptr.cast();
            msg.msg_iovlen = len;
            libc::sendmsg(op.fd, &raw const msg, flags)
        } else if code(OpCode::Write) {
            libc::write(op.fd, ptr, len)
        } else if code(OpCode::Writev) {
            libc::syscall(libc::SYS_writev, op.fd, ptr, len) as isize
        } else if code(OpCode::SendFile) {
            let mut off = op.off.cast_signed();
            let off = if op.arg == 1 {
                std::ptr::null_mut()
            } else {
                &raw mut off
            };
            libc::sendfile(op.fd, op.fd2, off, len)
        } else if code(OpCode::SendFileCopy) {
            return copy(op, flags);
        } else {
            rest(op, ptr, len)
        }
    };
    result(done)
}

/// The operations that are never short.
///
/// # Safety
/// As for [`one`].
unsafe fn rest(op: &Op, ptr: *mut libc::c_void, len: usize) -> isize {
    let code = |c: OpCode| c as u32 == op.opcode;
    let (arg, arg2) = (op.arg.cast_signed(), op.arg2.cast_signed());
    // SAFETY: the caller's promise.
    unsafe {
        if code(OpCode::Recv) {
            libc::recv(op.fd, ptr, len, arg)
        } else if code(OpCode::Read) {
            libc::read(op.fd, ptr, len)
        } else if code(OpCode::Pread) {
            libc::pread(op.fd, ptr, len, op.off.cast_signed())
        } else if code(OpCode::Shutdown) {
            libc::shutdown(op.fd, arg) as isize
        } else if code(OpCode::Close) {
            libc::close(op.fd) as isize
        } else if code(OpCode::SetSockOpt) {
            let value = (&raw const op.off).cast();
            libc::setsockopt(op.fd, arg, arg2, value, op.len as u32) as isize
        } else {
            panic!("no plain call for {op:?}")
        }
    }
}

/// Whether a result is less than was asked for.
pub fn is_short(op: &Op, result: i64) -> bool {
    let code = |c: OpCode| c as u32 == op.opcode;
    let pieces = code(OpCode::SendMsg) || code(OpCode::Writev);
    let whole = code(OpCode::Send) || code(OpCode::Write);
    let whole = whole || code(OpCode::SendFile) || code(OpCode::SendFileCopy);
    let want = if whole {
        op.len
    } else if pieces && result >= 0 {
        let n = op.len as usize;
        // SAFETY: `len` pieces, which the call has just read.
        let pieces = unsafe { std::slice::from_raw_parts(op.ptr as *const libc::iovec, n) };
        pieces.iter().map(|p| p.iov_len as u64).sum()
    } else {
        0
    };
    result < 0 || result.cast_unsigned() < want
}

fn copy(op: &Op, flags: i32) -> i64 {
    let mut buffer = vec![0_u8; op.len.min(1 << 20) as usize];
    let len = buffer.len();
    // SAFETY: a buffer of so many bytes.
    let got = unsafe {
        libc::pread(
            op.fd2,
            buffer.as_mut_ptr().cast(),
            len,
            op.off.cast_signed(),
        )
    };
    if got <= 0 {
        return result(got);
    }
    // SAFETY: so many bytes were read.
    let sent = unsafe { libc::send(op.fd, buffer.as_ptr().cast(), got.cast_unsigned(), flags) };
    result(sent)
}

/// Makes plain calls for a table, with its links.
pub fn run_all(ops: &[Op]) -> Vec<i64> {
    let mut cancelled = Vec::new();
    ops.iter()
        .map(|op| {
            if cancelled.contains(&op.fd) {
                return -i64::from(libc::ECANCELED);
            }
            let result = one(op);
            if op.flags & F_LINK != 0 && is_short(op, result) {
                cancelled.push(op.fd);
            }
            result
        })
        .collect()
}
