//! The walk over a table: each entry read once, carried out, answered.

use crate::cancelled::Cancelled;
use core::ptr::{read_volatile, write_volatile};
use esca_abi::op::{F_KNOWN, F_LINK, F_MORE, NOT_DONE, Op, OpCode};

pub(crate) const EINTR: i32 = 4;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const EPROTONOSUPPORT: i32 = 93;
const EOPNOTSUPP: i32 = 95;
const ECANCELED: i32 = 125;
/// `-ERESTARTSYS` to `-ERESTART_RESTARTBLOCK`: the kernel's own, never shown.
const RESTART: core::ops::RangeInclusive<i64> = -516..=-512;

const MSG_MORE: u32 = 0x8000;
const SPLICE_F_MORE: u32 = 4;

/// What the kernel does for an operation: the plain calls, by their results.
/// `want` is told how many bytes a full result has where only the kernel
/// knows.
pub trait Kernel {
    /// send(2)
    fn send(&mut self, fd: i32, ptr: u64, len: u64, flags: u32) -> i64;
    /// sendmsg(2) with pieces and nothing else
    fn send_msg(&mut self, fd: i32, ptr: u64, len: u64, flags: u32, want: &mut u64) -> i64;
    /// write(2)
    fn write(&mut self, fd: i32, ptr: u64, len: u64) -> i64;
    /// writev(2)
    fn writev(&mut self, fd: i32, ptr: u64, len: u64, want: &mut u64) -> i64;
    /// sendfile(2); `off` is `None` for the file's own position
    fn send_file(&mut self, out: i32, file: i32, off: Option<u64>, len: u64, flags: u32) -> i64;
    /// pread(2) and send(2)
    fn send_file_copy(&mut self, out: i32, file: i32, off: u64, len: u64, flags: u32) -> i64;
    /// recv(2)
    fn recv(&mut self, fd: i32, ptr: u64, len: u64, flags: u32) -> i64;
    /// read(2), or pread(2)
    fn read(&mut self, fd: i32, ptr: u64, len: u64, off: Option<u64>) -> i64;
    /// shutdown(2)
    fn shutdown(&mut self, fd: i32, how: i32) -> i64;
    /// close(2)
    fn close(&mut self, fd: i32) -> i64;
    /// setsockopt(2)
    fn set_option(&mut self, fd: i32, level: i32, name: i32, value: u64, len: u32) -> i64;
    /// Whether something waits for this task: a cheap look.
    fn wanted(&self) -> bool;
    /// Lets others run; true if the run must end.
    fn pause(&mut self) -> bool;
}

/// Loads a field of the shared table: exactly once, whatever the process does
/// to it meanwhile.
///
/// # Safety
/// `field` is in the table.
#[inline(always)]
unsafe fn load<T: Copy>(field: *const T) -> T {
    // SAFETY: the caller's promise; all bit patterns are valid for the integers
    // that the table consists of.
    unsafe { read_volatile(field) }
}

/// Runs the first `n` operations in order; gives how many got a result. The
/// others are marked not done.
///
/// # Safety
/// `table` is a mapping of at least `n` entries that stays.
#[inline]
pub unsafe fn run<K: Kernel>(table: *mut Op, n: u32, k: &mut K) -> u32 {
    let mut cancelled = Cancelled::new();
    let end = table.wrapping_add(n as usize);
    let mut op = table;
    while op != end {
        // SAFETY: an entry below n.
        let going_on = unsafe { step(op, k, &mut cancelled) };
        op = op.wrapping_add(1);
        if !going_on || k.wanted() && k.pause() {
            break;
        }
    }
    let done = (op as usize).wrapping_sub(table as usize) / size_of::<Op>();
    while op != end {
        // SAFETY: as above.
        unsafe { write_volatile(&raw mut (*op).result, NOT_DONE) };
        op = op.wrapping_add(1);
    }
    done as u32
}

/// Carries out one entry and stores its result; false if the run must end.
/// What most tables consist of is here; the rest is out of its way.
///
/// # Safety
/// `op` is an entry of the table.
#[inline(always)]
unsafe fn step<K: Kernel>(op: *mut Op, k: &mut K, cancelled: &mut Cancelled) -> bool {
    const NOP: u64 = OpCode::Nop as u64;
    const SEND: u64 = OpCode::Send as u64;
    // Opcode and flags in one load.
    // SAFETY: the entry begins with these 8 bytes, aligned to 64.
    let head = unsafe { load(op.cast::<u64>()) };
    // SAFETY: an entry of the table (caller); so below.
    let reserved = unsafe { load(&raw const (*op).reserved) };
    // No flags, nothing where nothing belongs, nothing cancelled: one test.
    if head >> 32 | reserved | cancelled.count() != 0 {
        // SAFETY: as above.
        return unsafe { step_flagged(op, head, reserved, k, cancelled) };
    }
    // SAFETY: as above; each field is loaded once.
    let result = unsafe {
        match head {
            NOP => 0,
            SEND => to_user(k.send(
                load(&raw const (*op).fd),
                load(&raw const (*op).ptr),
                load(&raw const (*op).len),
                load(&raw const (*op).arg),
            )),
            _ => to_user(step_other(op, head as u32, k)),
        }
    };
    // SAFETY: as above.
    unsafe { write_volatile(&raw mut (*op).result, result) };
    true
}

/// The other opcodes, without flags.
///
/// # Safety
/// `op` is an entry of the table.
#[inline(never)]
unsafe fn step_other<K: Kernel>(op: *const Op, opcode: u32, k: &mut K) -> i64 {
    // SAFETY: the caller's promise.
    unsafe { one(op, opcode, 0, None, k, &mut 0) }
}

/// As [`step`], for an entry with flags, or once something was cancelled.
///
/// # Safety
/// As for [`step`]; `head` and `reserved` were loaded from `op`.
#[inline(never)]
unsafe fn step_flagged<K: Kernel>(
    op: *mut Op,
    head: u64,
    reserved: u64,
    k: &mut K,
    cancelled: &mut Cancelled,
) -> bool {
    let (opcode, flags) = (head as u32, (head >> 32) as u32);
    let mut going_on = true;
    let result = if reserved != 0 || !flags_known(opcode, flags) {
        i64::from(-EINVAL)
    } else {
        // SAFETY: an entry of the table (caller).
        let fd = unsafe { load(&raw const (*op).fd) };
        if cancelled.has(fd) {
            i64::from(-ECANCELED)
        } else {
            let mut want = 0;
            // SAFETY: as above.
            let r = unsafe { one(op, opcode, flags, Some(fd), k, &mut want) };
            if flags & F_LINK != 0 && is_short(r, want) {
                // Without room to remember it the run ends, this one done.
                going_on = cancelled.add(fd);
            }
            to_user(r)
        }
    };
    // SAFETY: as above.
    unsafe { write_volatile(&raw mut (*op).result, result) };
    going_on
}

#[inline(always)]
fn to_user(result: i64) -> i64 {
    if RESTART.contains(&result) {
        i64::from(-EINTR)
    } else {
        result
    }
}

/// Failed, or less than all.
#[inline(always)]
fn is_short(result: i64, want: u64) -> bool {
    result < 0 || (result as u64) < want
}

#[inline(always)]
fn flags_known(opcode: u32, flags: u32) -> bool {
    flags & !F_LINK == 0 || flags & !F_KNOWN == 0 && takes_more(opcode)
}

fn takes_more(opcode: u32) -> bool {
    const SEND: u32 = OpCode::Send as u32;
    const SEND_MSG: u32 = OpCode::SendMsg as u32;
    const SEND_FILE: u32 = OpCode::SendFile as u32;
    const SEND_FILE_COPY: u32 = OpCode::SendFileCopy as u32;
    matches!(opcode, SEND | SEND_MSG | SEND_FILE | SEND_FILE_COPY)
}

/// Has one operation carried out; gives the kernel's result, and in `want`
/// what less than which is short. `fd` is the entry's if it was loaded already.
///
/// # Safety
/// `op` is an entry of the table.
#[inline(always)]
unsafe fn one<K: Kernel>(
    op: *const Op,
    opcode: u32,
    flags: u32,
    fd: Option<i32>,
    k: &mut K,
    want: &mut u64,
) -> i64 {
    const NOP: u32 = OpCode::Nop as u32;
    const SEND: u32 = OpCode::Send as u32;
    const SEND_MSG: u32 = OpCode::SendMsg as u32;
    const WRITE: u32 = OpCode::Write as u32;
    const WRITEV: u32 = OpCode::Writev as u32;
    const SEND_FILE: u32 = OpCode::SendFile as u32;
    const SEND_FILE_COPY: u32 = OpCode::SendFileCopy as u32;
    const RECV: u32 = OpCode::Recv as u32;
    const READ: u32 = OpCode::Read as u32;
    const PREAD: u32 = OpCode::Pread as u32;
    const SHUTDOWN: u32 = OpCode::Shutdown as u32;
    const CLOSE: u32 = OpCode::Close as u32;
    const SET_SOCK_OPT: u32 = OpCode::SetSockOpt as u32;

    // Each is called at most once for an entry.
    // SAFETY: fields of the entry (caller).
    let (fd, fd2, ptr, len, arg, arg2, off) = unsafe {
        (
            || fd.unwrap_or_else(|| load(&raw const (*op).fd)),
            || load(&raw const (*op).fd2),
            || load(&raw const (*op).ptr),
            || load(&raw const (*op).len),
            || load(&raw const (*op).arg),
            || load(&raw const (*op).arg2),
            || load(&raw const (*op).off),
        )
    };
    let more = |bit| if flags & F_MORE != 0 { bit } else { 0 };
    match opcode {
        NOP => 0,
        SEND => {
            *want = len();
            k.send(fd(), ptr(), *want, arg() | more(MSG_MORE))
        }
        SEND_MSG => k.send_msg(fd(), ptr(), len(), arg() | more(MSG_MORE), want),
        CLOSE => k.close(fd()),
        WRITE => {
            *want = len();
            k.write(fd(), ptr(), *want)
        }
        WRITEV => k.writev(fd(), ptr(), len(), want),
        SEND_FILE => {
            let from = match arg() {
                0 => Some(off()),
                1 => None,
                _ => return i64::from(-EINVAL),
            };
            *want = len();
            k.send_file(fd(), fd2(), from, *want, more(SPLICE_F_MORE))
        }
        SEND_FILE_COPY => {
            *want = len();
            k.send_file_copy(fd(), fd2(), off(), *want, arg() | more(MSG_MORE))
        }
        RECV => k.recv(fd(), ptr(), len(), arg()),
        READ => k.read(fd(), ptr(), len(), None),
        PREAD => k.read(fd(), ptr(), len(), Some(off())),
        SHUTDOWN => k.shutdown(fd(), arg() as i32),
        SET_SOCK_OPT => match len() {
            size @ (4 | 8) => k.set_option(fd(), arg() as i32, arg2() as i32, off(), size as u32),
            _ => i64::from(-EINVAL),
        },
        _ => i64::from(-EOPNOTSUPP),
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
