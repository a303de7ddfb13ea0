//! One entry of the operation table: what is asked for, and what came of it.
//! User space and the kernel module compile this same file.

/// What an [`Op`] asks for. Each is the plain call of its name, with that
/// call's result; `arg` has the flags of send(2) or recv(2) where the call
/// takes some.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// Nothing; the result is 0.
    Nop = 0,
    /// `send(fd, ptr, len, arg)`.
    Send = 1,
    /// `sendmsg(fd, pieces, arg)`: `ptr` points to `len` iovecs.
    SendMsg = 2,
    /// `write(fd, ptr, len)`.
    Write = 3,
    /// `writev(fd, ptr, len)`: `ptr` points to `len` iovecs.
    Writev = 4,
    /// `sendfile(fd, fd2, &off, len)` to a socket; with `arg` 1,
    /// `sendfile(fd, fd2, NULL, len)`, from the file's own position.
    SendFile = 5,
    /// `pread(fd2, buffer, len, off)` and `send(fd, buffer, ..., arg)` in one,
    /// through a buffer in the kernel: for small files, where sendfile's pipe
    /// costs more than the copy. At most [`COPY_MAX`] bytes at a time.
    SendFileCopy = 6,
    /// `recv(fd, ptr, len, arg)`.
    Recv = 7,
    /// `read(fd, ptr, len)`.
    Read = 8,
    /// `pread(fd, ptr, len, off)`.
    Pread = 9,
    /// `shutdown(fd, arg)`.
    Shutdown = 10,
    /// `close(fd)`.
    Close = 11,
    /// `setsockopt(fd, arg, arg2, &off, len)`: the value itself stands in
    /// `off`, `len` is 4 or 8.
    SetSockOpt = 12,
}

/// One more than the highest opcode.
pub const OPCODES: u32 = 13;

/// When this operation fails or is short, the later ones of the table on the
/// same `fd` are not made and get `-ECANCELED`: order on a stream holds. A read
/// is never short, only failed.
pub const F_LINK: u32 = 1 << 0;
/// More bytes follow at once on this stream: `MSG_MORE` (send(2)). For the
/// operations that send to a socket and take flags.
pub const F_MORE: u32 = 1 << 1;
/// Every bit that has a meaning; others are refused.
pub const F_KNOWN: u32 = F_LINK | F_MORE;

/// Bytes that one [`OpCode::SendFileCopy`] carries at most.
pub const COPY_MAX: u64 = 64 * 1024;
/// The result of an operation that was not reached.
pub const NOT_DONE: i64 = i64::MIN;

/// One operation: 64 bytes, one cache line, the same on both sides. What an
/// opcode does not use is not looked at, except `reserved`.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// An [`OpCode`].
    pub opcode: u32,
    /// `F_*` bits.
    pub flags: u32,
    /// The descriptor.
    pub fd: i32,
    /// The second descriptor (the file that is sent).
    pub fd2: i32,
    /// A user-space address; its meaning depends on the opcode.
    pub ptr: u64,
    /// A length or count.
    pub len: u64,
    /// Flags of the call, or its first small argument.
    pub arg: u32,
    /// Its second small argument.
    pub arg2: u32,
    /// A file offset, or a value.
    pub off: u64,
    /// Zero.
    pub reserved: u64,
    /// Bytes done, minus an errno, or [`NOT_DONE`]. Written by the backend.
    pub result: i64,
}

const _: () = assert!(size_of::<Op>() == 64);
const _: () = assert!(core::mem::offset_of!(Op, arg) == 32);
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
            arg: 0,
            arg2: 0,
            off: 0,
            reserved: 0,
            result: 0,
        }
    }
}
