//! Explicit ESCA segments from Rust: the safe face of `esca.h`.
//!
//! A segment says which system calls belong together. Under
//! `libesca_preload.so` the stream operations of the thread are kept until
//! [`Segment::flush`], which hands them to the kernel together and tells what
//! became of each. Without the library every call happens at once, as
//! written, and there are no results: one binary runs both ways.
//!
//! ```
//! use std::io::Write;
//! # fn respond(mut out: impl Write) -> std::io::Result<()> {
//! let segment = esca::Segment::start(2)?;
//! out.write_all(b"head")?;
//! out.write_all(b"body")?;
//! for op in segment.flush()? {
//!     println!("{:?} on {}: {:?}", op.kind, op.fd, op.result);
//! }
//! # Ok(())
//! # }
//! # respond(std::io::sink()).unwrap();
//! ```

pub mod fallback;
mod symbols;

use std::ffi::c_long;
use std::io;
use std::marker::PhantomData;
use std::os::fd::RawFd;

pub use symbols::RawResult;
use symbols::api;

/// What a recorded operation was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpKind {
    /// `write`, `writev`, `send`, `sendto`, `sendmsg`.
    Write,
    /// `sendfile`, `sendfile64`.
    SendFile,
    /// `shutdown`.
    Shutdown,
    /// `close`.
    Close,
    /// One that this version does not know, by its number in `esca.h`.
    Other(i32),
}

impl From<i32> for OpKind {
    fn from(n: i32) -> Self {
        match n {
            1 => OpKind::Write,
            2 => OpKind::SendFile,
            3 => OpKind::Shutdown,
            4 => OpKind::Close,
            n => OpKind::Other(n),
        }
    }
}

/// What became of one operation of a segment.
#[derive(Debug)]
pub struct OpResult {
    /// The descriptor, by the number it had when called.
    pub fd: RawFd,
    /// What was asked.
    pub kind: OpKind,
    /// Bytes that the kernel took at the flush; fewer than the call returned
    /// means that the rest is in custody and follows.
    pub result: io::Result<usize>,
}

impl From<&RawResult> for OpResult {
    fn from(raw: &RawResult) -> Self {
        let result = usize::try_from(raw.result).map_err(|_| {
            io::Error::from_raw_os_error(i32::try_from(-raw.result).unwrap_or(libc::EIO))
        });
        OpResult {
            fd: raw.fd,
            kind: raw.op.into(),
            result,
        }
    }
}

/// Makes ESCA ready in this process; [`Segment::start`] does it by itself.
///
/// # Errors
/// `ENOSYS` (`ErrorKind::Unsupported`) where the library is there and cannot
/// work; segments keep nothing then.
pub fn init() -> io::Result<()> {
    check((api().init)()).map(drop)
}

/// Whether the symbols of `esca.h` are there at all (from the preload library
/// or from `libshim.so`). Without them segments keep nothing.
#[must_use]
pub fn linked() -> bool {
    api().linked
}

/// An open segment of this thread. Dropping it flushes it.
#[derive(Debug)]
#[must_use = "a segment that is dropped at once keeps nothing"]
pub struct Segment {
    // A segment belongs to the thread that opened it: neither Send nor Sync.
    thread: PhantomData<*const ()>,
}

impl Segment {
    /// Opens a segment on this thread. `hint` is about how many operations
    /// follow, 0 when unknown.
    ///
    /// Segments do not nest: one that is open hands over what it has and ends,
    /// and its own `flush` finds nothing.
    ///
    /// # Errors
    /// Those of the library; there are none today.
    pub fn start(hint: usize) -> io::Result<Segment> {
        let hint = i32::try_from(hint).unwrap_or(i32::MAX);
        check((api().start)(hint))?;
        Ok(Segment {
            thread: PhantomData,
        })
    }

    /// Hands everything to the kernel and tells what became of each
    /// operation, in program order; empty without ESCA.
    ///
    /// # Errors
    /// Those of the library; there are none today.
    pub fn flush(self) -> io::Result<Vec<OpResult>> {
        std::mem::forget(self);
        let n = check((api().flush)())?;
        let mut raw = vec![RawResult::default(); usize::try_from(n).unwrap_or(0)];
        let got = (api().results)(&mut raw);
        Ok(raw[..got].iter().map(OpResult::from).collect())
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Nobody to tell what became of the operations.
        let _ = (api().flush)();
    }
}

fn check(ret: c_long) -> io::Result<c_long> {
    if ret < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(ret)
    }
}
