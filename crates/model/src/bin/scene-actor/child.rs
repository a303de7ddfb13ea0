//! Children, and a thread that holds the fork handlers' mutex.

use crate::around::{lock, unlock};
use crate::{Actor, fill, raw, spin, warm, write};
use esca_model::scene::stage::What;
use esca_model::scene::{Before, Child, How};
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

unsafe extern "C" {
    fn _Fork() -> i32;
    static environ: *const *mut libc::c_char;
}

static THREADS: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());
static HELD: AtomicBool = AtomicBool::new(false);

/// Waits for the threads.
pub(crate) fn join() {
    let all: Vec<_> = THREADS
        .lock()
        .map(|mut t| t.drain(..).collect())
        .unwrap_or_default();
    for t in all {
        let _ = t.join();
    }
}

/// A thread that is remembered.
pub(crate) fn thread(f: impl FnOnce() + Send + 'static) {
    let handle = std::thread::spawn(f);
    if let Ok(mut t) = THREADS.lock() {
        t.push(handle);
    }
}

/// A thread takes the mutex, formats a line and writes it, as a logger does.
pub(crate) fn holder(actor: &'static Actor, writes: bool) {
    HELD.store(false, SeqCst);
    if writes && actor.fd(1) < 0 {
        actor.accept(1);
        actor.next.fetch_max(2, SeqCst);
    }
    thread(move || {
        if writes {
            warm(actor, 1);
        }
        lock();
        HELD.store(true, SeqCst);
        spin(50);
        if writes {
            write::write(actor, 1, How::Write, 5);
            write::write(actor, 1, How::Write, 4);
        } else {
            // SAFETY: no descriptor at all.
            unsafe { libc::close(-1) };
        }
        unlock();
        crate::wake();
    });
    while !HELD.load(SeqCst) {
        std::hint::spin_loop();
    }
}

/// A child, and its end.
pub(crate) fn child(actor: &Actor, which: Child) {
    // SAFETY: children make few calls and end; the stack of the
    // clone is as large as it says and outlives the child.
    unsafe {
        match which {
            Child::Fork => waited(actor, libc::fork()),
            Child::UnderFork => waited(actor, _Fork()),
            Child::NumFork => waited(actor, libc::syscall(libc::SYS_fork) as i32),
            Child::NumClone => waited(
                actor,
                libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as i32,
            ),
            Child::Vfork => {
                let flags = libc::CLONE_VM | libc::CLONE_VFORK;
                let _ = flags;
                vfork(actor);
            }
            Child::CloneVm => clone_vm(actor),
            Child::System => actor.result(libc::system(c"true".as_ptr()).into()),
            Child::Popen => {
                let f = libc::popen(c"true".as_ptr(), c"r".as_ptr());
                actor.result(libc::pclose(f).into());
            }
            Child::Spawn => {
                let mut pid = 0;
                let args = [c"/bin/true".as_ptr().cast_mut(), null_mut()];
                let r = libc::posix_spawn(
                    &raw mut pid,
                    args[0],
                    null(),
                    null(),
                    args.as_ptr(),
                    environ,
                );
                libc::waitpid(pid, null_mut(), 0);
                actor.result(r.into());
            }
            // The end of a namespace's first process ends its heir too.
            Child::Daemon if actor.scene.before(Before::Pid1) => {}
            Child::Daemon => {
                // An heir is to come.
                actor.stage.heir.store(u32::MAX, SeqCst);
                let r = libc::daemon(1, 1);
                actor.stage.heir.store(outer_pid(), SeqCst);
                actor.result(r.into());
            }
            Child::Lock => {
                let mut l: libc::flock = std::mem::zeroed();
                l.l_type = libc::F_RDLCK as i16;
                let fd = libc::open(c"scene".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
                actor.result(libc::fcntl(fd, libc::F_SETLK, &raw mut l).into());
                libc::close(fd);
            }
            Child::Worker => worker(actor),
        }
    }
}

/// The child closes what it does not need and ends; the parent waits.
unsafe fn waited(actor: &Actor, pid: i32) {
    // SAFETY: see `child`.
    unsafe {
        if pid == 0 {
            close_and_exec(null_mut());
        }
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, 0);
        actor.note(What::Wrong, 0, status.into());
    }
}

extern "C" fn close_and_exec(_: *mut libc::c_void) -> i32 {
    let args = [c"/bin/true".as_ptr(), null()];
    // SAFETY: the child's own numbers, and arguments that end with a null.
    unsafe {
        for fd in 3..60 {
            libc::close(fd);
        }
        libc::execve(args[0], args.as_ptr(), environ.cast());
        libc::_exit(1)
    }
}

unsafe fn clone_vm(actor: &Actor) {
    let mut stack = vec![0_u8; 1 << 16];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: see `child`.
    unsafe {
        let top = stack.as_mut_ptr().add(1 << 16).cast();
        let pid = libc::clone(close_and_exec, top, flags, null_mut());
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, 0);
        actor.note(What::Wrong, 0, status.into());
    }
}

#[allow(deprecated, reason = "programs use it")]
unsafe fn vfork(actor: &Actor) {
    // SAFETY: the child only closes and runs a program.
    unsafe {
        let pid = libc::vfork();
        if pid == 0 {
            close_and_exec(null_mut());
        }
        let mut status = 0;
        libc::waitpid(pid, &raw mut status, 0);
        actor.note(What::Wrong, 0, status.into());
    }
}

/// A raw clone answers the third client and ends.
unsafe fn worker(actor: &Actor) {
    let client = 2;
    // SAFETY: see `child`.
    unsafe {
        let pid = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as i32;
        if pid == 0 {
            if actor.fd(client) < 0 {
                if actor.fd(1) < 0 {
                    actor.accept(1);
                }
                actor.accept(client);
            }
            warm(actor, client);
            fill(actor, client);
            libc::poll(null_mut(), 0, 100);
            raw::call(libc::SYS_exit_group, [0; 5]);
        }
        libc::waitpid(pid, null_mut(), 0);
    }
}

/// This process's number in the namespace of `/proc`, which is the judge's.
fn outer_pid() -> u32 {
    let mut text = [0_u8; 16];
    let (path, to) = (c"/proc/self".as_ptr() as i64, text.as_mut_ptr() as i64);
    // SAFETY: a name that ends with a zero, and room of this length.
    let n = unsafe { raw::call(libc::SYS_readlink, [path, to, 16, 0, 0]) };
    let digits = text.get(..n.max(0) as usize).unwrap_or(&[]);
    std::str::from_utf8(digits)
        .ok()
        .and_then(|t| t.parse().ok())
        .unwrap_or(0)
}
