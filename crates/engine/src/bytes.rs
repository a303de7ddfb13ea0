//! A call that sends bytes from the program's memory. The memory is looked at
//! only on a stream that promises, once, and within bounds: another thread may
//! change it meanwhile.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]
#![allow(clippy::unnecessary_cast)] // msghdr's types differ between glibc and musl.

use crate::memory;
use crate::operation::OpKind;
use libc::{iovec, mmsghdr, msghdr};
use std::mem::MaybeUninit;

/// The bytes of a call, where the program keeps them.
#[derive(Clone, Copy)]
pub enum Bytes {
    /// One buffer.
    One(*const u8, usize),
    /// A vector of so many buffers, as many as the kernel takes.
    Many(*const iovec, usize),
    /// A message.
    Message(*const msghdr),
}

/// Pieces of a vector that are looked at; a longer one goes straight through.
pub(crate) const PIECES: usize = 16;

/// What a look at the bytes of a call found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// So many bytes, perhaps none.
    Bytes(usize),
    /// The kernel refuses the call before it comes to the socket.
    Refused,
}

impl Bytes {
    /// Whether there may be any byte.
    #[inline(always)]
    pub(crate) fn may_be_some(&self) -> bool {
        !matches!(self, Bytes::One(_, 0))
    }

    /// What there is, found out without a touch of memory that may not be
    /// there: for what is rare, because the kernel is asked.
    #[cold]
    pub(crate) fn look(&self) -> Look {
        let (at, n) = match *self {
            Bytes::One(at, n) => {
                // More than there can be is cut short by a socket's own calls.
                let most = n.min(memory::MOST);
                return match memory::is_range(at.addr(), most) || at.addr() < 4096 {
                    true => Look::Bytes(n),
                    false => Look::Refused,
                };
            }
            Bytes::Many(at, n) => (at, n),
            Bytes::Message(m) => {
                if !memory::is_readable(m.addr(), size_of::<msghdr>()) {
                    return Look::Refused;
                }
                // SAFETY: readable, as was just found.
                let m = unsafe { m.read_unaligned() };
                (m.msg_iov.cast_const(), m.msg_iovlen as usize)
            }
        };
        if n == 0 {
            return Look::Bytes(0);
        }
        if n > libc::UIO_MAXIOV as usize || !memory::is_readable(at.addr(), n * size_of::<iovec>())
        {
            return Look::Refused;
        }
        let mut sum = 0_usize;
        for k in 0..n {
            // SAFETY: readable, as was just found.
            let piece = unsafe { at.add(k).read_unaligned() };
            if piece.iov_len > isize::MAX as usize {
                return Look::Refused;
            }
            sum = sum.saturating_add(piece.iov_len);
        }
        Look::Bytes(sum)
    }
}

/// The pieces of a call, copied once. What the program changes later changes
/// nothing here.
pub(crate) struct Pieces {
    /// The first place is for bytes that go before the call's.
    all: [MaybeUninit<iovec>; PIECES + 1],
    n: usize,
}

impl Pieces {
    /// No pieces.
    #[inline(always)]
    pub fn new() -> Self {
        Pieces {
            all: [const { MaybeUninit::uninit() }; PIECES + 1],
            n: 0,
        }
    }

    /// Takes the pieces of a call; how many bytes they are. `None` where the
    /// call is not understood, or the kernel would refuse it.
    ///
    /// # Safety
    /// The vector of the call, and its message, are readable.
    #[inline]
    pub unsafe fn take(&mut self, bytes: &Bytes) -> Option<usize> {
        let (at, n) = match *bytes {
            Bytes::One(at, n) => {
                self.push(iovec {
                    iov_base: at.cast_mut().cast(),
                    iov_len: n,
                });
                return memory::is_plausible(at.addr()).then_some(n);
            }
            Bytes::Many(at, n) => (at, n),
            Bytes::Message(m) => {
                if !memory::is_plausible(m.addr()) {
                    return None;
                }
                // SAFETY: the caller's promise.
                let m = unsafe { m.read_unaligned() };
                // A null pointer to control data is one that the kernel follows.
                if !m.msg_name.is_null() || m.msg_controllen as usize != 0 {
                    return None;
                }
                (m.msg_iov.cast_const(), m.msg_iovlen as usize)
            }
        };
        if n > PIECES || n != 0 && !memory::is_plausible(at.addr()) {
            return None;
        }
        let mut sum = 0;
        for k in 0..n {
            // SAFETY: the caller's promise.
            let piece = unsafe { at.add(k).read_unaligned() };
            if !memory::is_range(piece.iov_base.addr(), piece.iov_len) {
                return None;
            }
            // Each is below 2^48 bytes, and they are few.
            sum += piece.iov_len;
            self.push(piece);
        }
        Some(sum)
    }

    #[inline(always)]
    fn push(&mut self, piece: iovec) {
        if let Some(place) = self.all.get_mut(self.n + 1) {
            place.write(piece);
            self.n += 1;
        }
    }

    /// The pieces.
    #[inline(always)]
    fn pieces(&self) -> &[iovec] {
        let some = self.all.get(1..=self.n).unwrap_or_default();
        // SAFETY: push wrote the first n of them.
        unsafe { &*(std::ptr::from_ref(some) as *const [iovec]) }
    }

    /// The pieces behind `first`.
    pub fn behind(&mut self, first: iovec) -> &[iovec] {
        let some = self.all.get_mut(..=self.n).unwrap_or_default();
        if let Some(place) = some.first_mut() {
            place.write(first);
        }
        // SAFETY: the first was just written, push wrote the others.
        unsafe { &*(std::ptr::from_ref(some) as *const [iovec]) }
    }

    /// Copies the bytes to the front of `to`; how many they are. What is
    /// longer than `to` is cut short.
    ///
    /// # Safety
    /// The buffers are readable.
    #[inline]
    pub unsafe fn copy(&self, mut to: &mut [u8]) -> usize {
        let mut done = 0;
        for p in self.pieces() {
            let Some((now, rest)) = to.split_at_mut_checked(p.iov_len) else {
                break;
            };
            // SAFETY: readable (caller), and `now` has this length.
            unsafe {
                std::ptr::copy_nonoverlapping(p.iov_base.cast(), now.as_mut_ptr(), now.len());
            };
            done += now.len();
            to = rest;
        }
        done
    }
}

/// What a call that the engine only orders asks of the socket it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// To send bytes.
    Bytes,
    /// To send no byte: the socket says `EPIPE` if it is shut.
    Empty,
    /// Nothing: the kernel answers before it comes to the socket
    /// (`vfs_writev` in fs/read_write.c, `do_splice` in fs/splice.c).
    Nothing,
    /// To take what the kernel finds elsewhere and looks at first: in a pipe, a
    /// file, a vector.
    Elsewhere,
}

impl Asks {
    /// What `n` messages ask. The first few decide: the kernel ends with the
    /// first that cannot be sent.
    #[cold]
    #[must_use]
    pub fn messages(at: *const mmsghdr, n: usize) -> Asks {
        const FEW: usize = 16;
        for k in 0..n.min(FEW) {
            // A header begins with its message.
            match Bytes::Message(at.wrapping_add(k).cast()).look() {
                Look::Bytes(0) => {}
                Look::Refused if k == 0 => return Asks::Nothing,
                _ => return Asks::Bytes,
            }
        }
        match n {
            0 => Asks::Nothing,
            1..=FEW => Asks::Empty,
            _ => Asks::Bytes,
        }
    }
}

/// A call that sends.
#[derive(Clone, Copy)]
pub struct WriteCall {
    /// The descriptor.
    pub fd: i32,
    /// Which call.
    pub kind: OpKind,
    /// Flags of send(2); 0 for write and writev.
    pub flags: i32,
    /// What to send.
    pub bytes: Bytes,
}

/// Whether a call is for some bytes: for none, and for more than one call
/// moves, the kernel has answers of its own, which differ from those of a
/// socket's own calls (read(2), write(2)).
#[inline]
pub(crate) fn is_some(n: usize) -> bool {
    n.wrapping_sub(1) < memory::MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: &[u8]) -> iovec {
        iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        }
    }

    #[test]
    fn none_and_too_many_are_not_some() {
        let most = memory::MOST;
        for (n, some) in [
            (0, false),
            (1, true),
            (most, true),
            (most + 1, false),
            (usize::MAX, false),
        ] {
            assert_eq!(is_some(n), some, "{n}");
        }
    }

    #[test]
    fn what_changes_after_it_was_taken_changes_nothing() {
        let mut vector = [piece(b"one "), piece(b"two")];
        let mut pieces = Pieces::new();
        // SAFETY: local.
        let n = unsafe { pieces.take(&Bytes::Many(vector.as_ptr(), 2)) };
        assert_eq!(n, Some(7));
        vector[0].iov_len = usize::MAX;
        std::hint::black_box(&vector);
        let mut room = [0; 7];
        // SAFETY: literals.
        assert_eq!(unsafe { pieces.copy(&mut room) }, 7);
        assert_eq!(&room, b"one two");
        assert_eq!(pieces.behind(piece(b"0")).len(), 3);
    }

    #[test]
    fn what_has_no_room_is_cut_and_does_not_panic() {
        let mut pieces = Pieces::new();
        let vector = [piece(b"one "), piece(b"two")];
        let mut room = [0; 6];
        // SAFETY: local.
        let (took, copied) = unsafe {
            let took = pieces.take(&Bytes::Many(vector.as_ptr(), 2));
            (took, pieces.copy(&mut room))
        };
        assert_eq!((took, copied), (Some(7), 4));
        assert_eq!(&room, b"one \0\0");
    }

    #[test]
    fn what_the_kernel_refuses_is_not_taken() {
        let good = piece(b"good");
        let bad = |at: usize, n: usize| iovec {
            iov_base: std::ptr::without_provenance_mut(at),
            iov_len: n,
        };
        let take = |vector: &[iovec]| {
            // SAFETY: local.
            unsafe { Pieces::new().take(&Bytes::Many(vector.as_ptr(), vector.len())) }
        };
        assert_eq!(take(&[good]), Some(4));
        assert_eq!(take(&[bad(0, 0), good, bad(1, 0)]), Some(4));
        assert_eq!(take(&[good; PIECES]), Some(4 * PIECES));
        assert_eq!(take(&[good; PIECES + 1]), None);
        for bad in [
            bad(0, 1),
            bad(1, 1),
            bad(1 << 63, 0),
            bad(1 << 62, 1),
            bad(8192, usize::MAX),
            bad(8192, isize::MAX as usize),
            bad(usize::MAX, 1),
        ] {
            assert_eq!(take(&[good, bad]), None, "{bad:?}");
        }
        for n in [1, 2] {
            let none = Bytes::Many(std::ptr::null(), n);
            // SAFETY: looked at only if plausible.
            assert_eq!(unsafe { Pieces::new().take(&none) }, None);
            assert!(none.look() == Look::Refused);
        }
    }
}
