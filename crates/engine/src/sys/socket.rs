//! What a TCP socket's send buffer holds and may hold.

use super::call::{result, syscall};
use super::fd::Fd;

/// Numbers of `SO_MEMINFO` (`sk_get_meminfo` in net/core/sock.c).
const SNDBUF: usize = 3;
const WMEM_QUEUED: usize = 5;
const MEMINFO_VARS: usize = 9;

fn option<T>(fd: i32, level: i32, name: i32, value: &mut T) -> rustix::io::Result<()> {
    let mut len = size_of::<T>() as libc::socklen_t;
    let (at, len) = (
        std::ptr::from_mut(value).expose_provenance(),
        (&raw mut len).expose_provenance(),
    );
    let args = [fd as usize, level as usize, name as usize, at, len];
    // SAFETY: the kernel writes at most len bytes, integers, to the value.
    result(unsafe { syscall(libc::SYS_getsockopt, args) }).map(drop)
}

/// Bytes that the socket's send queue may still grow by, its bookkeeping
/// included (`sk_stream_memory_free` in include/net/sock.h).
pub(crate) fn send_room(fd: i32) -> rustix::io::Result<u32> {
    const SO_MEMINFO: i32 = 55;
    let mut info = [0u32; MEMINFO_VARS];
    option(fd, libc::SOL_SOCKET, SO_MEMINFO, &mut info)?;
    Ok(info[SNDBUF].saturating_sub(info[WMEM_QUEUED]))
}

/// The bytes of a segment (`TCP_MAXSEG` of a connected socket: its current
/// one).
pub(crate) fn segment_size(fd: i32) -> rustix::io::Result<u32> {
    let mut mss = 0u32;
    option(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, &mut mss)?;
    Ok(mss)
}

/// Bytes that wait to be sent for the first time (`SIOCOUTQNSD`, tcp(7)).
pub(crate) fn unsent(fd: i32) -> rustix::io::Result<u32> {
    const SIOCOUTQNSD: usize = 0x894b;
    let mut n = 0u32;
    let args = [
        fd as usize,
        SIOCOUTQNSD,
        (&raw mut n).expose_provenance(),
        0,
        0,
    ];
    // SAFETY: the kernel writes an int there.
    result(unsafe { syscall(libc::SYS_ioctl, args) })?;
    Ok(n)
}

/// Sets `TCP_NOTSENT_LOWAT` to the value that it has, which wakes those who
/// wait for room (`do_tcp_setsockopt` in net/ipv4/tcp.c).
pub(crate) fn renew_lowat(fd: i32) -> rustix::io::Result<()> {
    let mut value = 0i32;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT);
    option(fd, level, name, &mut value)?;
    let at = (&raw const value).expose_provenance();
    let args = [
        fd as usize,
        level as usize,
        name as usize,
        at,
        size_of::<i32>(),
    ];
    // SAFETY: the kernel reads an int there.
    result(unsafe { syscall(libc::SYS_setsockopt, args) }).map(drop)
}

/// The network namespace's `tcp_notsent_lowat` (ip-sysctl), if it can be read.
/// For a thread with a descriptor table of its own: it opens a file.
pub(crate) fn default_lowat() -> Option<u32> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let path = c"/proc/sys/net/ipv4/tcp_notsent_lowat";
    let file: Fd = open(path, flags, Mode::empty()).ok()?.into();
    let mut text = [0u8; 16];
    let n = rustix::io::read(&file, &mut text).ok()?;
    let mut digits = text[..n].iter().take_while(|b| b.is_ascii_digit());
    digits.try_fold(0u32, |n, d| {
        n.checked_mul(10)?.checked_add(u32::from(d - b'0'))
    })
}
