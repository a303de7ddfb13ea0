//! When the device stops: a table that runs already, signals, its own end and
//! its process's.

use crate::child::{asleep_in, fork};
use crate::device::Device;
use crate::rules::{errno, results, send};
use crate::same::op;
use crate::world::unix;
use esca_abi::op::{NOT_DONE, Op, OpCode};
use rustix::process::{Signal, kill_process};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub fn busy() {
    let device = Device::new(64).expect("a device");
    let (ours, theirs) = unix();
    let room = [0_u8; 8];
    // SAFETY: a plain question.
    let before = unsafe { libc::gettid() };
    struct Shared<'a>(&'a Device);
    // SAFETY: the test uses it from two threads to see that the module
    // refuses the second.
    unsafe impl Sync for Shared<'_> {}
    let shared = Shared(&device);
    let (shared, ours) = (&shared, &ours);
    std::thread::scope(|s| {
        let (tell, told) = std::sync::mpsc::channel();
        let room = room.as_ptr() as u64;
        let first = s.spawn(move || {
            // SAFETY: a plain question.
            tell.send(unsafe { libc::gettid() }).expect("told");
            results(shared.0, &[op(OpCode::Recv, ours.as_raw_fd(), room, 8)])
        });
        let tid = told.recv().expect("a thread");
        assert_ne!(tid, before);
        asleep_in(tid.cast_unsigned(), libc::SYS_lseek);
        assert_eq!(errno(shared.0.run(1)), libc::EBUSY);
        assert_eq!(errno(shared.0.run_by_ioctl(1)), libc::EBUSY);
        rustix::io::write(&theirs, b"12345678").expect("a write");
        assert_eq!(first.join().expect("the first"), [8]);
    });
    assert_eq!(results(&device, &[Op::nop()]), [0]);
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn on_signal(_: i32) {
    SIGNALS.fetch_add(1, Relaxed);
}

fn handle(signal: i32) {
    SIGNALS.store(0, Relaxed);
    // SAFETY: zeroes are a sigaction; the handler adds to an atomic. Without
    // SA_RESTART.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        assert_eq!(libc::sigaction(signal, &raw const action, null_mut()), 0);
    }
}

fn ignore(signal: i32) {
    // SAFETY: sets a signal to be ignored.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

pub fn signal_between() {
    let device = Device::new(64).expect("a device");
    handle(libc::SIGPIPE);
    let (a, peer) = unix();
    drop(peer);
    let (b, peer) = unix();
    let ops = [
        send(b.as_raw_fd()),
        send(a.as_raw_fd()),
        send(b.as_raw_fd()),
        Op::nop(),
    ];
    for (i, op) in ops.iter().enumerate() {
        device.set(i, *op);
    }
    assert_eq!(device.run(4).ok(), Some(2), "stopped behind the signal");
    assert_eq!(SIGNALS.load(Relaxed), 1, "its handler has run");
    let all: Vec<i64> = (0..4).map(|i| device.result(i)).collect();
    assert_eq!(all, [8, -i64::from(libc::EPIPE), NOT_DONE, NOT_DONE]);
    let mut got = [0; 64];
    assert_eq!(rustix::io::read(&peer, &mut got), Ok(8));
    ignore(libc::SIGPIPE);
}

/// A signal from another thread, while an operation sleeps.
pub fn signal_inside() {
    handle(libc::SIGUSR1);
    let device = Device::new(64).expect("a device");
    let (ours, _theirs) = unix();
    let (file, _write) = rustix::pipe::pipe().expect("a pipe");
    let room = [0_u8; 8];
    let at = room.as_ptr() as u64;
    for one in [
        op(OpCode::Recv, ours.as_raw_fd(), at, 8),
        op(OpCode::Read, ours.as_raw_fd(), at, 8),
        op(OpCode::Read, file.as_raw_fd(), at, 8),
    ] {
        // SAFETY: plain questions.
        let (pid, tid) = unsafe { (libc::getpid(), libc::gettid()) };
        device.set(0, one);
        device.set(1, Op::nop());
        let before = SIGNALS.load(Relaxed);
        let sender = std::thread::spawn(move || {
            asleep_in(tid.cast_unsigned(), libc::SYS_lseek);
            // SAFETY: a signal to the thread that is joined below.
            unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGUSR1) };
        });
        assert_eq!(device.run(2).ok(), Some(1));
        sender.join().expect("the sender");
        assert_eq!(SIGNALS.load(Relaxed), before + 1);
        assert_eq!(
            (device.result(0), device.result(1)),
            (-i64::from(libc::EINTR), NOT_DONE)
        );
    }
    ignore(libc::SIGUSR1);
}

pub fn own_close() {
    let device = Device::new(64).expect("a device");
    let (a, b) = unix();
    let own = op(OpCode::Close, device.fd.as_raw_fd(), 0, 0);
    for (i, op) in [send(a.as_raw_fd()), own, send(a.as_raw_fd())]
        .iter()
        .enumerate()
    {
        device.set(i, *op);
    }
    let done = device.run(3).expect("a run") as usize;
    // On 6.1 the end of a file is left for later and stops the run.
    assert!(done == 2 || done == 3, "{done}");
    let want = [8, 0, if done == 3 { 8 } else { NOT_DONE }];
    assert_eq!(
        [0, 1, 2].map(|i| device.result(i)),
        want,
        "the table is still there"
    );
    assert_eq!(errno(device.run(1)), libc::EBADF);
    let mut got = [0; 64];
    assert_eq!(rustix::io::read(&b, &mut got), Ok(8 * (done - 1)));
    device.abandon();
}

pub fn killed() {
    for i in 0..20 {
        let (ours, theirs) = unix();
        let (tell, told) = rustix::pipe::pipe().map(|(r, w)| (w, r)).expect("a pipe");
        let child = fork(|| {
            let device = Device::new(64 << (i % 4)).expect("a device");
            let room = [0_u8; 8];
            let blocking = op(OpCode::Recv, ours.as_raw_fd(), room.as_ptr() as u64, 8);
            device.set(0, send(ours.as_raw_fd()));
            device.set(1, blocking);
            device.set(2, send(ours.as_raw_fd()));
            rustix::io::write(&tell, b"x").expect("told");
            let _ = device.run(3);
            panic!("not killed");
        });
        rustix::io::read(&told, &mut [0; 1]).expect("told");
        asleep_in(
            child.pid().as_raw_nonzero().get().cast_unsigned(),
            libc::SYS_lseek,
        );
        kill_process(child.pid(), Signal::KILL).expect("kill");
        let status = child.end();
        assert_eq!(status.terminating_signal(), Some(libc::SIGKILL));
        drop(ours);
        let mut got = [0; 64];
        assert_eq!(
            rustix::io::read(&theirs, &mut got),
            Ok(8),
            "what came before the end"
        );
        assert_eq!(
            rustix::io::read(&theirs, &mut got),
            Ok(0),
            "and nothing after it"
        );
    }
}
