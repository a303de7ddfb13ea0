//! One entry of the operation table: what a backend is asked to do, and what
//! came of it.

/// What an [`Op`] asks for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// Nothing; the result is 0.
    Nop = 0,
    /// `sendmsg(fd, pieces, flags)`: `ptr` points to `len` iovecs.
    SendMsg = 1,
    /// `send(fd, ptr, len, flags)`.
    Send = 6,
    /// `sendfile(fd, fd2, ptr, len)`: `ptr` is an `off_t *` or null.
    SendFile = 2,
    /// `shutdown(fd, len)`.
    Shutdown = 3,
    /// `close(fd)`.
    Close = 4,
    /// `setsockopt(fd, IPPROTO_TCP, ptr, &len, 4)`.
    SetTcpOpt = 5,
}

/// A failed or short operation cancels the following ones on the same stream,
/// up to the first that is not linked: order on a stream holds.
pub const F_LINK: u32 = 1 << 0;
/// More bytes follow at once on this stream: `MSG_MORE` (send(2)).
pub const F_MORE: u32 = 1 << 1;
/// Every bit that has a meaning; others are refused.
pub const F_KNOWN: u32 = F_LINK | F_MORE;

/// One operation: 64 bytes, one cache line, the same on both sides.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// An [`OpCode`].
    pub opcode: u32,
    /// `F_*` bits.
    pub flags: u32,
    /// The descriptor.
    pub fd: i32,
    /// The second descriptor (`SendFile`).
    pub fd2: i32,
    /// A user-space address; its meaning depends on the opcode.
    pub ptr: u64,
    /// A length or count.
    pub len: u64,
    /// Reserved; zero.
    pub reserved: [u64; 3],
    /// Bytes done, or minus an errno. Written by the backend.
    pub result: i64,
}

const _: () = assert!(size_of::<Op>() == 64);
const _: () = assert!(core::mem::offset_of!(Op, result) == 56);

impl Op {
    /// An operation that does nothing.
    #[must_use]
    pub const fn nop() -> Self {
        Op {
            opcode: OpCode::Nop as u32,
            flags: 0,
            fd: -1,
            fd2: -1,
            ptr: 0,
            len: 0,
            reserved: [0; 3],
            result: 0,
        }
    }
}
