//! Random tables, and a second thread that writes over the table and over the
//! memory that operations name while the kernel runs them. Whatever comes of
//! it, it must be a result of a call, and the kernel must not complain.

use crate::child::fork;
use crate::device::Device;
use crate::random::Random;
use crate::report::Report;
use crate::world::BASE;
use esca_abi::op::{NOT_DONE, OPCODES, Op};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Entries of a table.
const ENTRIES: u32 = 64;
/// Numbers that operations name; the world's are not in use here.
const NUMBERS: i32 = 24;
/// Words of the memory that operations name.
const WORDS: usize = 1 << 15;
/// Bytes before and behind it in which nothing is: operations that receive
/// must not be able to hit this program's own memory.
const GUARD: usize = 1 << 26;

/// The memory: the kernel writes to it while this program does, so it is only
/// touched through atomics.
fn memory() -> &'static [AtomicU64; WORDS] {
    static AT: OnceLock<usize> = OnceLock::new();
    let at = AT.get_or_init(|| {
        let (len, none) = (8 * WORDS, libc::PROT_NONE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, over nothing else.
        let all = unsafe { libc::mmap(null_mut(), len + 2 * GUARD, none, flags, -1, 0) };
        assert_ne!(all, libc::MAP_FAILED);
        let at = all.wrapping_byte_add(GUARD);
        // SAFETY: within that mapping.
        let done = unsafe { libc::mprotect(at, len, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(done, 0);
        at as usize
    });
    // SAFETY: mapped for good, as long as the array, aligned to a page.
    unsafe { &*(*at as *const [AtomicU64; WORDS]) }
}

extern "C" fn nothing(_: i32) {}

/// Runs so many entries.
pub fn run(report: &mut Report, entries: u32, seed: u64) {
    report.test(&format!("fuzz: {entries} entries, seed {seed}"), |report| {
        fork(|| {
            let counts = fuzz(entries, seed);
            std::fs::write("/tmp/fuzz-counts", format!("{counts:?}")).expect("counts");
        })
        .succeeds();
        report.note(std::fs::read_to_string("/tmp/fuzz-counts").expect("counts"));
    });
}

#[derive(Debug, Default)]
struct Counts {
    done: u64,
    positive: u64,
    zero: u64,
    errors: u64,
    runs: u64,
    stopped: u64,
}

/// Peers that stay open: so few that new files have numbers below [`BASE`].
const KEPT: usize = 32;

/// What a table may name, open again where a table has closed it. By few
/// calls: with page-table isolation they cost an emulated machine more than
/// the tables do.
struct Targets {
    /// Peers, by number: a table may have closed them.
    keep: Vec<RawFd>,
}

/// The numbers of which nobody has a file.
fn closed() -> impl Iterator<Item = i32> {
    let all = std::array::from_fn::<_, { NUMBERS as usize }, _>(|i| BASE + i as i32);
    let mut all = all.map(|fd| libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    });
    // SAFETY: asks about so many numbers, without waiting. The timer's signal
    // may come between.
    while unsafe { libc::poll(all.as_mut_ptr(), all.len() as libc::nfds_t, 0) } < 0 {
        let e = std::io::Error::last_os_error();
        assert_eq!(e.kind(), std::io::ErrorKind::Interrupted);
    }
    let closed = all.into_iter().filter(|p| p.revents & libc::POLLNVAL != 0);
    closed.map(|p| p.fd)
}

impl Targets {
    fn renew(&mut self, r: &mut Random) {
        // Not kept: a table may close any number.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        closed().for_each(|number| self.open(number, &listener));
        for _ in 0..2 {
            self.open(BASE + r.below(NUMBERS as u64) as i32, &listener);
        }
        // Before the peers are closed: a table may have closed one, whose number
        // is the listener's now.
        drop(listener);
        let n = self.keep.len().saturating_sub(KEPT);
        for number in self.keep.drain(..n) {
            // SAFETY: of this test's own, or closed already.
            unsafe { libc::close(number) };
        }
    }

    /// Opens a number's file, which does not block, in place of what it was.
    fn open(&mut self, number: i32, listener: &TcpListener) {
        let i = number - BASE;
        let fd = match i % 6 {
            0 | 1 => {
                let at = listener.local_addr().expect("an address");
                let ours = TcpStream::connect(at).expect("connect");
                let (theirs, _) = listener.accept().expect("accept");
                ours.set_nonblocking(true).expect("FIONBIO");
                theirs.set_nonblocking(true).expect("FIONBIO");
                self.pair((ours.into(), theirs.into()))
            }
            2 | 3 => {
                let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
                self.pair(socketpair(family, kind, SocketFlags::NONBLOCK, None).expect("a pair"))
            }
            4 => {
                let (read, write) = pipe_with(PipeFlags::NONBLOCK).expect("a pipe");
                let ours_reads = i % 12 == 4;
                self.pair(if ours_reads {
                    (read, write)
                } else {
                    (write, read)
                })
            }
            _ => {
                let ours = i % 12 == 5;
                let path = if ours { "/tmp/fuzz" } else { esca_vm::COMMAND };
                let mut options = File::options();
                options
                    .read(true)
                    .write(ours)
                    .custom_flags(libc::O_NONBLOCK);
                options.open(path).expect("a file").into()
            }
        };
        // SAFETY: the number is this test's own.
        let done = unsafe { libc::dup2(fd.as_raw_fd(), number) };
        assert_eq!(done, number, "{}", std::io::Error::last_os_error());
    }

    fn pair(&mut self, (ours, theirs): (OwnedFd, OwnedFd)) -> OwnedFd {
        let _ = rustix::io::write(&theirs, &[7; 300]);
        self.keep.push(theirs.into_raw_fd());
        ours
    }
}

/// A word that looks like something now and then.
fn word(r: &mut Random) -> u64 {
    let memory = memory().as_ptr() as u64;
    match r.below(8) {
        0..=3 => memory + r.below(8 * WORDS as u64),
        4 => r.below(5000),
        5 => r.next(),
        6 => memory + 8 * WORDS as u64 + r.below(1 << 16),
        _ => 0xffff_8880_0000_0000 | r.next() >> 20,
    }
}

fn random_op(r: &mut Random, device: RawFd) -> Op {
    let number = |r: &mut Random| match r.below(32) {
        0 => r.next() as i32,
        1 => device,
        _ => BASE + r.below(NUMBERS as u64) as i32,
    };
    let rare = |r: &mut Random, usual: u64| if r.below(16) == 0 { r.next() } else { usual };
    let opcode = r.below(u64::from(OPCODES)) as u32;
    let small = r.below(4096);
    Op {
        opcode: rare(r, u64::from(opcode)) as u32,
        flags: {
            let f = r.below(4);
            rare(r, f) as u32
        },
        fd: number(r),
        fd2: number(r),
        ptr: word(r),
        len: rare(r, small),
        // No flags at all, mostly; the levels and names of options.
        arg: match r.below(4) {
            0 => 6,
            1 => 1,
            2 => 0,
            _ => r.next() as u32,
        },
        arg2: match r.below(4) {
            0 => 1,
            1 => 3,
            2 => 13,
            _ => r.next() as u32,
        },
        off: {
            let n = r.below(9000);
            rare(r, n)
        },
        reserved: u64::from(r.below(64) == 0),
        result: 0,
    }
}

/// Writes over table and memory until told to stop.
fn scribble(table: usize, stop: &AtomicBool) {
    let mut r = Random::new(77);
    while !stop.load(Relaxed) {
        let at = (table as *mut u64).wrapping_add(r.below(u64::from(ENTRIES) * 8) as usize);
        let value = match r.below(4) {
            0 => r.below(u64::from(OPCODES)) | r.below(4) << 32,
            1 => (BASE as u64 + r.below(NUMBERS as u64)) * 0x1_0000_0001,
            _ => word(&mut r),
        };
        // SAFETY: a word of the mapped table; the kernel races, which is the
        // test.
        unsafe { at.write_volatile(value) };
        for _ in 0..8 {
            let (i, value) = (r.below(WORDS as u64) as usize, word(&mut r));
            memory()[i].store(value, Relaxed);
        }
    }
}

/// Whether the number is another file's, or nobody's.
fn elsewhere(e: &std::io::Error) -> bool {
    const OTHERS: [i32; 4] = [libc::EBADF, libc::ENOTTY, libc::ESPIPE, libc::ENXIO];
    // Without a number: see device::seek().
    e.raw_os_error().is_none_or(|e| OTHERS.contains(&e))
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn fuzz(entries: u32, seed: u64) -> Counts {
    // Random tables must find nothing else that is open: a serial port that
    // blocks, say.
    // SAFETY: this forked child uses none of them any more, and ends by _exit.
    unsafe { libc::close_range(0, u32::MAX, 0) };
    for _ in 0..3 {
        std::mem::forget(File::open("/dev/null").expect("/dev/null"));
    }
    std::fs::write("/tmp/fuzz", vec![1; 50_000]).expect("a file");
    // SAFETY: a handler that does nothing, for an interval timer, so that what
    // waits (a close that lingers) is interrupted, and runs stop everywhere.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, null_mut());
        let every = libc::timeval {
            tv_sec: 0,
            tv_usec: 20_000,
        };
        let timer = libc::itimerval {
            it_interval: every,
            it_value: every,
        };
        libc::setitimer(libc::ITIMER_REAL, &raw const timer, null_mut());
    }
    let mut r = Random::new(seed);
    let mut targets = Targets { keep: Vec::new() };
    let mut counts = Counts::default();
    let stop = AtomicBool::new(false);
    let mut device = Device::new(ENTRIES).expect("a device");
    while counts.done < u64::from(entries) {
        stop.store(false, Relaxed);
        let table = device.at(0) as usize;
        std::thread::scope(|s| {
            // Also when this thread panics: the other is waited for.
            let _stop = Stop(&stop);
            // At least once, so that some results are the kernel's for sure.
            let quiet = counts.runs == 0 || r.below(4) == 0;
            if !quiet {
                s.spawn(|| scribble(table, &stop));
            }
            for _ in 0..64 {
                targets.renew(&mut r);
                for i in 0..ENTRIES as usize {
                    device.set(i, random_op(&mut r, device.fd.as_raw_fd()));
                }
                let n = 1 + r.below(u64::from(ENTRIES)) as u32;
                let way = [Device::run, Device::run_by_ioctl][r.below(2) as usize];
                let done = match way(&device, n) {
                    Ok(done) => done,
                    // A table has closed the device, whose number is nobody's
                    // now, or a target's.
                    Err(e) if elsewhere(&e) => break,
                    Err(e) => panic!("a run: {e}"),
                };
                assert!(done <= n, "{done} of {n}");
                counts.runs += 1;
                counts.stopped += u64::from(done < n);
                counts.done += u64::from(done);
                for i in (0..n as usize).filter(|_| quiet) {
                    let result = device.result(i);
                    if i >= done as usize {
                        assert_eq!(result, NOT_DONE);
                        continue;
                    }
                    assert!((-4095..=0x7fff_f000).contains(&result), "result {result}");
                    assert!(!(-530..=-512).contains(&result), "result {result}");
                    match result {
                        0 => counts.zero += 1,
                        1.. => counts.positive += 1,
                        _ => counts.errors += 1,
                    }
                }
            }
        });
        if device.run(0).is_err() {
            // Its number may be somebody else's by now.
            let new = Device::new(ENTRIES).expect("a device");
            std::mem::replace(&mut device, new).abandon();
        }
    }
    assert!(
        counts.positive > 0 && counts.errors > 0 && counts.zero > 0,
        "{counts:?}"
    );
    device.abandon();
    counts
}
