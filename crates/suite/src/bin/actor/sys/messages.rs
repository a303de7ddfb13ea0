//! Calls with several pieces or a descriptor: writev, sendmsg, recvmsg.

use super::{Ret, ret};
use std::mem::zeroed;

/// writev(2) of two pieces, by an array on the stack.
pub fn writev(fd: i32, a: &[u8], b: &[u8]) -> Ret {
    let piece = |p: &[u8]| libc::iovec {
        iov_base: p.as_ptr().cast_mut().cast(),
        iov_len: p.len(),
    };
    let pieces = [piece(a), piece(b)];
    // SAFETY: two pieces, of slices that live through the call.
    ret(unsafe { libc::writev(fd, pieces.as_ptr(), 2) } as i64)
}

/// sendmmsg(2) of two messages; the bytes of those that went.
pub fn sendmmsg(fd: i32, a: &[u8], b: &[u8]) -> Ret {
    let piece = |p: &[u8]| libc::iovec {
        iov_base: p.as_ptr().cast_mut().cast(),
        iov_len: p.len(),
    };
    let mut pieces = [piece(a), piece(b)];
    // SAFETY: two messages of one piece each, which live through the call.
    unsafe {
        let mut all: [libc::mmsghdr; 2] = zeroed();
        for (message, piece) in all.iter_mut().zip(&mut pieces) {
            message.msg_hdr.msg_iov = piece;
            message.msg_hdr.msg_iovlen = 1;
        }
        let n = ret(libc::sendmmsg(fd, all.as_mut_ptr(), 2, 0))?;
        Ok(all[..n].iter().map(|m| m.msg_len as usize).sum())
    }
}

/// sendmsg(2) of one piece, with a descriptor when one is given.
pub fn sendmsg(fd: i32, bytes: &[u8], passed: Option<i32>) -> Ret {
    let mut piece = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut room = [0_u64; 4];
    // SAFETY: the message, its piece and the room for one descriptor live
    // through the call, and the header that CMSG_FIRSTHDR gives is in there.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &mut piece;
        message.msg_iovlen = 1;
        if let Some(passed) = passed {
            message.msg_control = room.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(4) as usize;
            let head = libc::CMSG_FIRSTHDR(&message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(4) as usize;
            libc::CMSG_DATA(head).cast::<i32>().write_unaligned(passed);
        }
        ret(libc::sendmsg(fd, &message, 0) as i64)
    }
}

/// recvmsg(2) of one byte and a descriptor.
pub fn recv_fd(fd: i32) -> Ret {
    let mut byte = [0_u8];
    let mut piece = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut room = [0_u64; 4];
    // SAFETY: as for sendmsg; the descriptor is read only where one came.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &mut piece;
        message.msg_iovlen = 1;
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&room);
        ret(libc::recvmsg(fd, &mut message, 0) as i64)?;
        let head = libc::CMSG_FIRSTHDR(&message);
        if head.is_null() {
            return Err(0);
        }
        ret(libc::CMSG_DATA(head).cast::<i32>().read_unaligned())
    }
}
