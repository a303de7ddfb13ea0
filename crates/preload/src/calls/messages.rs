//! The calls that send messages, and what becomes of descriptors that are
//! passed to another process by them.
//!
//! The kernel reads the messages first: only what it took is looked at here.
#![allow(clippy::unnecessary_cast)] // The headers' types differ between glibc and musl.

use super::writes::{behind, send_by};
use crate::real::{errno, interpose, set_errno};
use crate::thread::enter;
use esca_engine::{Asks, Bytes, OpKind, WriteCall, memory};
use libc::{c_int, c_uint, cmsghdr, mmsghdr, msghdr, ssize_t};

interpose! {
    fn sendmsg(fd: c_int, msg: *const msghdr, flags: c_int) -> ssize_t, real {
        let call = WriteCall { fd, kind: OpKind::Sendmsg, flags, bytes: Bytes::Message(msg) };
        before_passing(fd, || given(msg, 1));
        // SAFETY: the program's own arguments.
        let n = unsafe { send_by(&call, || real(fd, msg, flags)) };
        if n >= 0 {
            // SAFETY: the kernel took the message.
            passed(fd, || unsafe { descriptors(msg, &mut leave_alone) });
        }
        n
    }
}

interpose! { unchecked
    // The type of the flags differs between glibc and musl.
    fn sendmmsg(fd: c_int, msgs: *mut mmsghdr, n: c_uint, flags: c_int) -> c_int, real {
        before_passing(fd, || given(msgs, n as usize));
        let asks = || Asks::messages(msgs, n as usize);
        // SAFETY: the program's own arguments.
        let sent = behind(fd, asks, |fd| unsafe { real(fd, msgs, n, flags) as ssize_t }) as c_int;
        passed(fd, || {
            for k in 0..usize::try_from(sent).unwrap_or(0) {
                // SAFETY: the kernel took so many; a header begins with its message.
                unsafe { descriptors(msgs.wrapping_add(k).cast(), &mut leave_alone) };
            }
        });
        sent
    }
}

/// Before messages are sent by which descriptors may be passed, while bytes
/// are left over somewhere: those of the descriptors must go first, and the
/// kernel is asked what of the messages there is.
#[inline]
fn before_passing(fd: c_int, look: impl FnOnce()) {
    if let Some(i) = enter() {
        let due = i.owes_bytes() && !i.is_stream(fd);
        drop(i);
        if due {
            keeping_errno(look);
        }
    }
}

/// After a message was sent: the descriptors that went with it are left alone
/// from now on. Streams carry none.
#[inline]
fn passed(fd: c_int, look: impl FnOnce()) {
    // Before the first wait there is no engine, and what was passed is noted.
    let may = enter().is_none_or(|i| !i.is_stream(fd));
    if may {
        keeping_errno(look);
    }
}

fn keeping_errno(f: impl FnOnce()) {
    let e = errno();
    f();
    set_errno(e);
}

fn leave_alone(fd: c_int) {
    crate::origin::forget(fd);
    if let Some(i) = enter() {
        i.leave_alone(i.seg, fd);
    }
}

/// Leaves alone what the messages pass, as far as they can be read.
#[cold]
fn given<M>(msgs: *const M, n: usize) {
    for k in 0..n.min(libc::UIO_MAXIOV as usize) {
        let at = msgs.wrapping_add(k).cast::<msghdr>();
        if !memory::can_read(at.cast(), size_of::<msghdr>()) {
            return;
        }
        // SAFETY: readable, as was just found.
        let m = unsafe { at.read_unaligned() };
        if memory::can_read(m.msg_control.cast(), m.msg_controllen as usize) {
            // SAFETY: as above.
            unsafe { walk(&m, &mut leave_alone) };
        }
    }
}

/// Calls `each` for the descriptors that a message passes.
///
/// # Safety
/// The message and its control data are readable.
unsafe fn descriptors(msg: *const msghdr, each: &mut dyn FnMut(c_int)) {
    // SAFETY: the caller's promise.
    unsafe { walk(&msg.read_unaligned(), each) };
}

/// As the kernel walks it (`__cmsg_nxthdr`): within the lengths that were read
/// once, whatever another thread makes of the memory meanwhile.
///
/// # Safety
/// The message's control data are readable.
unsafe fn walk(m: &msghdr, each: &mut dyn FnMut(c_int)) {
    const HEAD: usize = size_of::<cmsghdr>();
    let control = m.msg_control.cast::<u8>().cast_const();
    let mut left = if control.is_null() {
        0
    } else {
        m.msg_controllen as usize
    };
    let mut at = control;
    while left >= HEAD {
        // SAFETY: HEAD bytes are left (caller).
        let head = unsafe { at.cast::<cmsghdr>().read_unaligned() };
        let len = head.cmsg_len as usize;
        if len < HEAD || len > left {
            return;
        }
        if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_RIGHTS {
            for k in 0..(len - HEAD) / size_of::<c_int>() {
                // SAFETY: inside the header's length, which is inside what is left.
                each(unsafe { at.add(HEAD).cast::<c_int>().add(k).read_unaligned() });
            }
        }
        let step = len.next_multiple_of(size_of::<usize>()).min(left);
        at = at.wrapping_add(step);
        left -= step;
    }
}
