//! libc's calls with several pieces or control data, as a C program makes
//! them: for the actors, which run with the library preloaded.

use libc::{iovec, msghdr};
use std::mem::zeroed;

/// A call's return value, or errno.
pub type Ret = Result<usize, i32>;

/// The return value of a call that has just been made, or errno.
///
/// # Errors
/// errno, where the value is negative.
pub fn ret(n: impl Into<i64>) -> Ret {
    usize::try_from(n.into())
        .map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// Room for the control data of a message.
type Room = [u64; 4];

fn piece(bytes: &[u8]) -> iovec {
    iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

fn room_in(bytes: &mut [u8]) -> iovec {
    iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

/// A message of these pieces, which have to outlive it.
fn message(pieces: &mut [iovec]) -> msghdr {
    // SAFETY: zeroes are a message without a name, pieces and control data.
    let mut message: msghdr = unsafe { zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = pieces.len() as _;
    message
}

/// writev(2), by an array on the stack.
///
/// # Errors
/// errno.
pub fn writev<const N: usize>(fd: i32, pieces: [&[u8]; N]) -> Ret {
    let pieces = pieces.map(piece);
    // SAFETY: pieces of slices that live through the call.
    ret(unsafe { libc::writev(fd, pieces.as_ptr(), N as i32) } as i64)
}

/// readv(2).
///
/// # Errors
/// errno.
pub fn readv<const N: usize>(fd: i32, pieces: [&mut [u8]; N]) -> Ret {
    let pieces = pieces.map(room_in);
    // SAFETY: pieces of slices that live through the call.
    ret(unsafe { libc::readv(fd, pieces.as_ptr(), N as i32) } as i64)
}

/// sendmmsg(2) of messages of one piece each; the bytes of those that went.
///
/// # Errors
/// errno.
pub fn sendmmsg<const N: usize>(fd: i32, pieces: [&[u8]; N]) -> Ret {
    let mut pieces = pieces.map(piece);
    let mut all = pieces.each_mut().map(|piece| libc::mmsghdr {
        msg_hdr: message(std::slice::from_mut(piece)),
        msg_len: 0,
    });
    // SAFETY: messages that live through the call, with their pieces.
    let n = ret(unsafe { libc::sendmmsg(fd, all.as_mut_ptr(), N as u32, 0) })?;
    Ok(all[..n].iter().map(|m| m.msg_len as usize).sum())
}

/// sendmsg(2); `control` is a SOL_SOCKET control message and its value.
///
/// # Errors
/// errno.
pub fn sendmsg<const N: usize>(fd: i32, pieces: [&[u8]; N], control: Option<(i32, i32)>) -> Ret {
    let mut pieces = pieces.map(piece);
    let mut room = Room::default();
    let mut message = message(&mut pieces);
    if let Some((kind, value)) = control {
        message.msg_control = room.as_mut_ptr().cast();
        // SAFETY: there is room for the header and one number, so that the
        // header that CMSG_FIRSTHDR gives is in there.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(4) as _;
            let head = libc::CMSG_FIRSTHDR(&raw const message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = kind;
            (*head).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(head).cast::<i32>().write_unaligned(value);
        }
    }
    // SAFETY: message, pieces and control data live through the call.
    ret(unsafe { libc::sendmsg(fd, &raw const message, 0) } as i64)
}

/// sendmsg(2) of one byte and a descriptor.
///
/// # Errors
/// errno.
pub fn send_fd(fd: i32, passed: i32) -> Ret {
    sendmsg(fd, [b"x"], Some((libc::SCM_RIGHTS, passed)))
}

/// recvmsg(2) without control data.
///
/// # Errors
/// errno.
pub fn recvmsg<const N: usize>(fd: i32, pieces: [&mut [u8]; N], flags: i32) -> Ret {
    let mut pieces = pieces.map(room_in);
    let mut message = message(&mut pieces);
    // SAFETY: message and pieces live through the call.
    ret(unsafe { libc::recvmsg(fd, &raw mut message, flags) } as i64)
}

/// recvmsg(2) of one byte and a descriptor.
///
/// # Errors
/// errno, or 0 where no descriptor came.
pub fn recv_fd(fd: i32) -> Ret {
    let mut byte = [0];
    let mut pieces = [room_in(&mut byte)];
    let mut room = Room::default();
    let mut message = message(&mut pieces);
    message.msg_control = room.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&room) as _;
    // SAFETY: message, piece and room live through the call; the descriptor
    // is read only where one came.
    unsafe {
        ret(libc::recvmsg(fd, &raw mut message, 0) as i64)?;
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        if head.is_null() {
            return Err(0);
        }
        ret(libc::CMSG_DATA(head).cast::<i32>().read_unaligned())
    }
}
