//! A call that sends bytes from the program's memory.

use crate::operation::OpKind;
use libc::iovec;

/// An address below this is no buffer: let the kernel say EFAULT.
const LOWEST: usize = 4096;

/// The bytes of a call, where the program keeps them.
#[derive(Clone, Copy)]
pub enum Bytes<'a> {
    /// One buffer.
    One(*const u8, usize),
    /// A vector of buffers.
    Many(&'a [iovec]),
}

impl Bytes<'_> {
    /// Whether there is any byte.
    #[inline(always)]
    pub(crate) fn any(&self) -> bool {
        match self {
            Bytes::One(_, n) => *n > 0,
            Bytes::Many(v) => v.iter().any(|i| i.iov_len > 0),
        }
    }

    /// The total length; `None` where the kernel would refuse it.
    #[inline]
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Bytes::One(p, n) => (*n == 0 || p.addr() >= LOWEST).then_some(*n),
            Bytes::Many(v) => v.iter().try_fold(0usize, |sum, i| {
                if i.iov_len != 0 && i.iov_base.addr() < LOWEST {
                    return None;
                }
                sum.checked_add(i.iov_len)
                    .filter(|s| *s <= isize::MAX as usize)
            }),
        }
    }

    /// Copies all of it to the front of `to`, which is long enough.
    ///
    /// # Safety
    /// The buffers are readable.
    #[inline]
    pub(crate) unsafe fn copy(&self, to: &mut [u8]) {
        let mut at = 0;
        let mut one = |p: *const u8, n: usize| {
            // SAFETY: readable (caller); the slice index checks the room.
            unsafe { std::ptr::copy_nonoverlapping(p, to[at..at + n].as_mut_ptr(), n) };
            at += n;
        };
        match self {
            Bytes::One(p, n) => one(*p, *n),
            Bytes::Many(v) => v.iter().for_each(|i| one(i.iov_base.cast(), i.iov_len)),
        }
    }
}

/// What a call that the engine only orders asks of the socket it names.
#[derive(Clone, Copy, PartialEq, Eq)]
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

/// A call that sends.
#[derive(Clone, Copy)]
pub struct WriteCall<'a> {
    /// The descriptor.
    pub fd: i32,
    /// Which call.
    pub kind: OpKind,
    /// Flags of send(2); 0 for write and writev.
    pub flags: i32,
    /// What to send.
    pub bytes: Bytes<'a>,
}

/// Whether a call is for some bytes: for none, and for more than a signed
/// number holds, the kernel has answers of its own (read(2), write(2)).
#[inline]
pub(crate) fn is_some(n: usize) -> bool {
    n.wrapping_sub(1) < isize::MAX as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_and_too_many_are_not_some() {
        let most = isize::MAX as usize;
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
}
