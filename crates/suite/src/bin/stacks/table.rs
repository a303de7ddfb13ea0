//! Every function that the library exports, with arguments that do no harm.

use crate::World;
use Arg::{Buf, Fd, File, Main, N, Set, Str, Thread};

/// An argument.
#[derive(Clone, Copy)]
pub enum Arg {
    /// A number.
    N(isize),
    /// The stream.
    Fd,
    /// Another descriptor.
    File,
    /// Zeroes: by which of some buffers.
    Buf(usize),
    /// A string.
    Str(&'static std::ffi::CStr),
    /// A set of signals with SIGUSR1.
    Set,
    /// A thread to wait for.
    Thread,
    /// A function.
    Main,
}

#[repr(align(64))]
struct Buffers {
    _bytes: [[u8; 4096]; 4],
}
static mut BUFFERS: Buffers = Buffers {
    _bytes: [[0; 4096]; 4],
};

extern "C" fn main_of(p: *mut libc::c_void) -> *mut libc::c_void {
    p
}

impl Arg {
    pub fn value(self, world: &World) -> usize {
        match self {
            N(n) => n as usize,
            Fd => world.stream as usize,
            File => world.file as usize,
            Buf(n) => (&raw mut BUFFERS).expose_provenance() + n * 4096,
            Str(s) => s.as_ptr().expose_provenance(),
            Set => {
                let set = (&raw mut BUFFERS).cast::<libc::sigset_t>();
                // SAFETY: larger than a set, and used by this thread alone.
                unsafe { libc::sigaddset(set, libc::SIGUSR1) };
                set.expose_provenance()
            }
            Thread => world.thread as usize,
            Main => main_of as *const () as usize,
        }
    }
}

const NONE: Arg = Str(c"/nonexistent");
const RAW: isize = libc::MSG_DONTWAIT as isize;
const AT: isize = libc::AT_FDCWD as isize;

/// A message of no pieces is one of zeroes, and so is a vector of one.
pub const TABLE: &[(&str, &[Arg])] = &[
    ("_Exit", &[N(0)]),
    ("_exit", &[N(0)]),
    ("exit", &[N(0)]),
    ("quick_exit", &[N(0)]),
    ("abort", &[]),
    ("_Fork", &[]),
    ("vfork", &[]),
    ("clone", &[Main, N(0), N(0), N(0)]),
    ("__close", &[Fd]),
    ("close", &[Fd]),
    ("close_range", &[N(900), N(901), N(0)]),
    ("closefrom", &[N(900)]),
    ("shutdown", &[Fd, N(1)]),
    ("dprintf", &[Fd, Str(c"x")]),
    ("__dprintf_chk", &[Fd, N(1), Str(c"x")]),
    ("vdprintf", &[Fd, Str(c"x"), Buf(0)]),
    ("open", &[NONE, N(0)]),
    ("open64", &[NONE, N(0)]),
    ("__open_2", &[NONE, N(0)]),
    ("__open64_2", &[NONE, N(0)]),
    ("openat", &[N(AT), NONE, N(0)]),
    ("openat64", &[N(AT), NONE, N(0)]),
    ("__openat_2", &[N(AT), NONE, N(0)]),
    ("__openat64_2", &[N(AT), NONE, N(0)]),
    ("creat", &[NONE, N(0)]),
    ("creat64", &[NONE, N(0)]),
    ("poll", &[N(0), N(0), N(0)]),
    ("__poll", &[N(0), N(0), N(0)]),
    ("__poll_chk", &[N(0), N(0), N(0), N(0)]),
    ("ppoll", &[N(0), N(0), Buf(0), N(0)]),
    ("__ppoll_chk", &[N(0), N(0), Buf(0), N(0), N(0)]),
    ("select", &[N(0), N(0), N(0), N(0), Buf(0)]),
    ("__select", &[N(0), N(0), N(0), N(0), Buf(0)]),
    ("pselect", &[N(0), N(0), N(0), N(0), Buf(0), N(0)]),
    ("epoll_wait", &[File, Buf(0), N(1), N(0)]),
    ("epoll_pwait", &[File, Buf(0), N(1), N(0), N(0)]),
    ("epoll_pwait2", &[File, Buf(0), N(1), Buf(1), N(0)]),
    ("epoll_create", &[N(1)]),
    ("epoll_create1", &[N(0)]),
    ("epoll_ctl", &[File, N(1), Fd, Buf(0)]),
    ("read", &[Fd, Buf(0), N(1)]),
    ("__read", &[Fd, Buf(0), N(1)]),
    ("__read_chk", &[Fd, Buf(0), N(1), N(9)]),
    ("readv", &[Fd, Buf(0), N(1)]),
    ("recv", &[Fd, Buf(0), N(1), N(0)]),
    ("__recv_chk", &[Fd, Buf(0), N(1), N(9), N(0)]),
    ("recvfrom", &[Fd, Buf(0), N(1), N(0), N(0), N(0)]),
    ("__recvfrom_chk", &[Fd, Buf(0), N(1), N(9), N(0), N(0)]),
    ("recvmsg", &[Fd, Buf(0), N(RAW)]),
    ("recvmmsg", &[Fd, Buf(0), N(1), N(RAW), N(0)]),
    ("write", &[Fd, Buf(0), N(9)]),
    ("__write", &[Fd, Buf(0), N(9)]),
    ("writev", &[Fd, Buf(0), N(1)]),
    ("send", &[Fd, Buf(0), N(9), N(0)]),
    ("__send", &[Fd, Buf(0), N(9), N(0)]),
    ("sendto", &[Fd, Buf(0), N(9), N(0), N(0), N(0)]),
    ("sendmsg", &[Fd, Buf(0), N(0)]),
    ("sendmmsg", &[Fd, Buf(0), N(1), N(0)]),
    ("sendfile", &[Fd, File, Buf(0), N(99)]),
    ("sendfile64", &[Fd, File, Buf(0), N(99)]),
    ("splice", &[File, N(0), Fd, N(0), N(1), N(2)]),
    ("tee", &[File, Fd, N(1), N(2)]),
    ("vmsplice", &[Fd, Buf(0), N(1), N(2)]),
    ("copy_file_range", &[File, N(0), File, N(0), N(1), N(0)]),
    ("pwrite", &[File, Buf(0), N(1), N(0)]),
    ("pwrite64", &[File, Buf(0), N(1), N(0)]),
    ("pwritev", &[File, Buf(0), N(1), N(0)]),
    ("pwritev64", &[File, Buf(0), N(1), N(0)]),
    ("accept", &[Fd, N(0), N(0)]),
    ("accept4", &[Fd, N(0), N(0), N(0)]),
    ("connect", &[N(-1), Buf(0), N(16)]),
    ("socket", &[N(2), N(1), N(0)]),
    ("socketpair", &[N(1), N(1), N(0), Buf(0)]),
    ("pipe", &[Buf(0)]),
    ("pipe2", &[Buf(0), N(0)]),
    ("eventfd", &[N(0), N(0)]),
    ("dup", &[Fd]),
    ("dup2", &[Fd, N(900)]),
    ("dup3", &[Fd, N(900), N(0)]),
    ("fcntl", &[Fd, N(libc::F_SETFL as isize), N(0)]),
    ("fcntl64", &[Fd, N(libc::F_DUPFD as isize), N(0)]),
    ("fdopen", &[Fd, Str(c"r")]),
    ("fflush", &[N(0)]),
    ("popen", &[Str(c"exit"), Str(c"r")]),
    ("ioctl", &[Fd, N(libc::FIONBIO as isize), Buf(0)]),
    (
        "setsockopt",
        &[Fd, N(6), N(libc::TCP_CORK as isize), Buf(0), N(4)],
    ),
    (
        "getsockopt",
        &[Fd, N(6), N(libc::TCP_CORK as isize), Buf(0), Buf(1)],
    ),
    ("lockf", &[File, N(0), N(1)]),
    ("flock", &[File, N(8)]),
    ("chmod", &[NONE, N(0)]),
    ("chown", &[NONE, N(0), N(0)]),
    ("fchmod", &[N(-1), N(0)]),
    ("fchmodat", &[N(AT), NONE, N(0), N(0)]),
    ("fchown", &[N(-1), N(0), N(0)]),
    ("fdatasync", &[N(-1)]),
    ("fsync", &[N(-1)]),
    ("msync", &[Buf(0), N(4096), N(4)]),
    ("ftruncate", &[N(-1), N(0)]),
    ("ftruncate64", &[N(-1), N(0)]),
    ("truncate", &[NONE, N(0)]),
    ("truncate64", &[NONE, N(0)]),
    ("link", &[NONE, NONE]),
    ("linkat", &[N(AT), NONE, N(AT), NONE, N(0)]),
    ("mkdir", &[Str(c"/nonexistent/x"), N(0)]),
    ("mkdirat", &[N(-1), Str(c"x"), N(0)]),
    ("mkfifo", &[Str(c"/nonexistent/x"), N(0)]),
    ("remove", &[NONE]),
    ("rmdir", &[NONE]),
    ("rename", &[NONE, NONE]),
    ("renameat", &[N(AT), NONE, N(AT), NONE]),
    ("renameat2", &[N(AT), NONE, N(AT), NONE, N(0)]),
    ("symlink", &[NONE, Str(c"/nonexistent/x")]),
    ("symlinkat", &[NONE, N(-1), Str(c"x")]),
    ("unlink", &[NONE]),
    ("unlinkat", &[N(AT), NONE, N(0)]),
    ("utimensat", &[N(AT), NONE, N(0), N(0)]),
    ("tcdrain", &[File]),
    ("nanosleep", &[Buf(0), N(0)]),
    ("clock_nanosleep", &[N(1), N(0), Buf(0), N(0)]),
    ("sleep", &[N(0)]),
    ("usleep", &[N(0)]),
    ("pause", &[]),
    ("sigsuspend", &[Set]),
    ("sigwait", &[Set, Buf(1)]),
    ("sigwaitinfo", &[Set, Buf(1)]),
    ("sigtimedwait", &[Set, Buf(1), N(0)]),
    ("wait", &[N(0)]),
    ("wait3", &[N(0), N(1), N(0)]),
    ("wait4", &[N(-1), N(0), N(1), N(0)]),
    ("waitid", &[N(0), N(0), N(0), N(5)]),
    ("waitpid", &[N(-1), N(0), N(1)]),
    ("kill", &[N(0), N(0)]),
    ("killpg", &[N(0), N(0)]),
    ("raise", &[N(0)]),
    ("sigqueue", &[N(-1), N(0), N(0)]),
    ("msgrcv", &[N(-1), Buf(0), N(0), N(0), N(0)]),
    ("msgsnd", &[N(-1), Buf(0), N(0), N(0)]),
    ("semop", &[N(-1), Buf(0), N(1)]),
    ("sem_post", &[Buf(0)]),
    ("sem_timedwait", &[Buf(0), Buf(1)]),
    ("sem_clockwait", &[Buf(0), N(1), Buf(1)]),
    ("pthread_cond_timedwait", &[Buf(0), Buf(1), Buf(2)]),
    ("pthread_cond_clockwait", &[Buf(0), Buf(1), N(1), Buf(2)]),
    ("pthread_join", &[Thread, N(0)]),
    ("pthread_create", &[Buf(0), N(0), Main, N(0)]),
    ("thrd_create", &[Buf(0), Main, N(0)]),
    ("prctl", &[N(3)]),
    ("syscall", &[N(libc::SYS_getppid as isize)]),
    ("execl", &[NONE, NONE, N(0)]),
    ("execlp", &[NONE, NONE, N(0)]),
    ("execle", &[NONE, NONE, N(0), N(0)]),
    ("execv", &[NONE, Buf(0)]),
    ("execve", &[NONE, Buf(0), Buf(0)]),
    ("execvp", &[NONE, Buf(0)]),
    ("execvpe", &[NONE, Buf(0), Buf(0)]),
    ("fexecve", &[File, Buf(0), Buf(0)]),
    ("posix_spawn", &[N(0), NONE, N(0), N(0), Buf(0), Buf(0)]),
    ("posix_spawnp", &[N(0), NONE, N(0), N(0), Buf(0), Buf(0)]),
    ("system", &[Str(c"exit")]),
    ("getaddrinfo", &[Str(c"::1"), N(0), N(0), Buf(0)]),
    ("esca_init", &[]),
    ("batch_start", &[N(1)]),
    ("batch_flush", &[]),
    ("esca_results", &[Buf(0), N(1)]),
];
