//! One operation that a program asked for, and what became of it.

/// What kind of call an operation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpKind {
    /// write(2)
    Write = 0,
    /// writev(2)
    Writev = 1,
    /// send(2), sendto(2)
    Send = 2,
    /// sendmsg(2)
    Sendmsg = 3,
    /// sendfile(2)
    Sendfile = 4,
    /// shutdown(2), in results only
    Shutdown = 5,
    /// close(2), in results only
    Close = 6,
}

/// The result of one operation of an explicit segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentResult {
    /// The descriptor.
    pub fd: i32,
    /// What was asked.
    pub kind: OpKind,
    /// Bytes the kernel took at the flush, or minus an errno.
    pub result: i64,
}
