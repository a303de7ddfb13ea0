//! Changes to files and directories that show outside.

use super::{any, effect, effects};
use crate::arch::trampoline::before;
use libc::*;

effects! {
    pwrite(fd: c_int, from: *const c_void, n: size_t, at: off_t) -> ssize_t;
    pwrite64(fd: c_int, from: *const c_void, n: size_t, at: off64_t) -> ssize_t;
    pwritev(fd: c_int, iov: *const iovec, n: c_int, at: off_t) -> ssize_t;
    pwritev64(fd: c_int, iov: *const iovec, n: c_int, at: off64_t) -> ssize_t;
    copy_file_range(a: c_int, at: *mut off64_t, b: c_int, bt: *mut off64_t, n: size_t, f: c_uint) -> ssize_t;
    unlink(path: *const c_char) -> c_int;
    unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int;
    remove(path: *const c_char) -> c_int;
    rename(from: *const c_char, to: *const c_char) -> c_int;
    renameat(a: c_int, from: *const c_char, b: c_int, to: *const c_char) -> c_int;
    link(from: *const c_char, to: *const c_char) -> c_int;
    linkat(a: c_int, from: *const c_char, b: c_int, to: *const c_char, f: c_int) -> c_int;
    symlink(from: *const c_char, to: *const c_char) -> c_int;
    symlinkat(from: *const c_char, b: c_int, to: *const c_char) -> c_int;
    mkdir(path: *const c_char, mode: mode_t) -> c_int;
    mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int;
    mkfifo(path: *const c_char, mode: mode_t) -> c_int;
    rmdir(path: *const c_char) -> c_int;
    chmod(path: *const c_char, mode: mode_t) -> c_int;
    fchmod(fd: c_int, mode: mode_t) -> c_int;
    fchmodat(dir: c_int, path: *const c_char, mode: mode_t, flags: c_int) -> c_int;
    chown(path: *const c_char, u: uid_t, g: gid_t) -> c_int;
    fchown(fd: c_int, u: uid_t, g: gid_t) -> c_int;
    truncate(path: *const c_char, len: off_t) -> c_int;
    ftruncate(fd: c_int, len: off_t) -> c_int;
    truncate64(path: *const c_char, len: off64_t) -> c_int;
    ftruncate64(fd: c_int, len: off64_t) -> c_int;
    utimensat(dir: c_int, path: *const c_char, t: *const timespec, f: c_int) -> c_int;
    flock(fd: c_int, op: c_int) -> c_int;
    lockf(fd: c_int, op: c_int, len: off_t) -> c_int;
    fsync(fd: c_int) -> c_int;
    fdatasync(fd: c_int) -> c_int;
    msync(at: *mut c_void, len: size_t, flags: c_int) -> c_int;
}
effects! { unchecked
    renameat2(a: c_int, from: *const c_char, b: c_int, to: *const c_char, f: c_uint) -> c_int;
}

before! { lean_trampoline, any:
    __pwrite64
    __xmknod __xmknodat mkfifoat mknod mknodat
    fchownat lchmod lchown
    futimens futimes futimesat lutimes utime utimes
    fremovexattr fsetxattr lremovexattr lsetxattr removexattr setxattr
    fallocate fallocate64 posix_fallocate posix_fallocate64
    sync sync_file_range syncfs
    mkdtemp
    lockf64
}
