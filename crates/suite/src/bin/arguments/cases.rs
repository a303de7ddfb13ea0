//! Calls with arguments that no program means: every one is answered as by
//! the kernel alone, and ends nothing.
//!
//! Each case is named in the transcript before it is made, so that one that
//! ends the program is known.

use crate::calls::{CALLS, Call, Takes};
use crate::{Actor, Scene};
use libc::{c_int, iovec};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

pub const SCENES: &[(&str, Scene)] = &[
    ("arguments", arguments),
    ("vector-that-changes", vector_that_changes),
];

const PAGE: usize = 4096;
/// Where the kernel puts nothing by itself.
const UNMAPPED: usize = 0x2_0000;
/// Bytes that can be read at the pointer `edge`.
pub const EDGE: usize = 8;
const INT_MAX: usize = i32::MAX as usize;
const LENGTHS: &[usize] = &[0, 8, INT_MAX, isize::MAX as usize, 1 << 63, usize::MAX];
const COUNTS: &[usize] = &[0, 1, 1024, 1025, INT_MAX, u32::MAX as usize];
const OPTIONS: &[usize] = &[
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    INT_MAX,
    INT_MAX + 1,
    u32::MAX as usize,
];

/// A descriptor of each kind, its name, and where its bytes arrive.
struct Kind {
    name: &'static str,
    fd: c_int,
    far: c_int,
}

/// Pages of zeroes with none behind them, and addresses that are worse.
struct Memory {
    page: usize,
    pointers: [(&'static str, usize); 8],
}

impl Memory {
    fn new() -> Memory {
        let map = |pages: usize, protection| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping.
            let at = unsafe { libc::mmap(null_mut(), pages * PAGE, protection, flags, -1, 0) };
            assert_ne!(at, libc::MAP_FAILED);
            at
        };
        let page = map(2, libc::PROT_READ | libc::PROT_WRITE);
        let none = page.wrapping_byte_add(PAGE);
        // SAFETY: the mapping just made.
        unsafe {
            assert_eq!(libc::mprotect(none, PAGE, libc::PROT_NONE), 0);
        }
        let page = page.addr();
        Memory {
            page,
            pointers: [
                ("null", 0),
                ("one", 1),
                ("kernel", 0xffff_8000_0000_0000),
                ("hole", 1 << 62),
                ("unmapped", UNMAPPED),
                ("none", none.addr()),
                ("edge", page + PAGE - EDGE),
                ("odd", page + 1),
            ],
        }
    }

    /// Zeroes again: a call may have written there.
    fn clean(&self) {
        // SAFETY: the mapping's first page.
        unsafe { std::ptr::write_bytes(at::<u8>(self.page), 0, PAGE) };
    }
}

pub fn at<T>(address: usize) -> *mut T {
    std::ptr::with_exposed_provenance_mut(address)
}

/// A descriptor of every kind.
fn kinds(a: &Actor) -> Vec<Kind> {
    let (mut unix, mut pipe) = ([0; 2], [0; 2]);
    let (fd, far) = a.pair();
    let path = format!("{}/written\0", a.dir);
    // SAFETY: local arrays and a C string.
    let (udp, file, closed) = unsafe {
        let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        assert_eq!(
            libc::socketpair(libc::AF_UNIX, flags, 0, unix.as_mut_ptr()),
            0
        );
        assert_eq!(libc::pipe2(pipe.as_mut_ptr(), libc::O_NONBLOCK), 0);
        let closed = libc::dup(pipe[0]);
        assert_eq!(libc::close(closed), 0);
        let udp = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0);
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
        (
            udp,
            libc::open(path.as_ptr().cast(), flags, 0o600),
            closed + 100,
        )
    };
    let kind = |name, fd, far| Kind { name, fd, far };
    vec![
        kind("tcp", fd, far),
        kind("unix", unix[0], unix[1]),
        kind("udp", udp, -1),
        kind("pipe", pipe[1], -1),
        kind("pipe-r", pipe[0], -1),
        kind("file", file, -1),
        kind("closed", closed, -1),
        kind("minus-one", -1, -1),
    ]
}

/// What each call is tried with.
fn lengths(call: &Call) -> &'static [usize] {
    match call.takes {
        Takes::Bytes => LENGTHS,
        Takes::Count => COUNTS,
        Takes::Option => OPTIONS,
        Takes::Nothing => &[8],
    }
}

/// How a stream is when a case comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was waited for yet.
    Plain,
    /// Nothing is known to be followed by more.
    Alone,
    /// Writes are known to be followed by more.
    Warm,
    /// One such write is in custody.
    Held,
    /// It was just read empty.
    Drained,
}

fn wait() {
    // SAFETY: no descriptors.
    unsafe { libc::poll(null_mut(), 0, 0) };
}

fn send(fd: c_int, bytes: &[u8]) {
    // SAFETY: a local slice.
    let n = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    assert_eq!(n, bytes.len() as isize);
}

/// Reads what has come up to the mark, and puts it together in a line.
fn arrived(far: c_int) -> String {
    let (mut n, mut sum) = (0_usize, 0_u64);
    loop {
        let mut byte = 0_u8;
        // SAFETY: a local byte.
        let got = unsafe { libc::recv(far, (&raw mut byte).cast(), 1, 0) };
        assert_eq!(got, 1, "the mark comes");
        if byte == b'E' {
            return format!("{n} bytes, {sum}");
        }
        n += 1;
        sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte));
    }
}

/// Teaches, and brings the stream into its state. `writev` and the others
/// learn by themselves, each kind of call.
fn prepare(kind: &Kind, state: State) {
    if state == State::Plain {
        return;
    }
    wait();
    if state == State::Alone {
        return;
    }
    let iov = |b: &'static [u8]| iovec {
        iov_base: b.as_ptr().cast_mut().cast(),
        iov_len: b.len(),
    };
    let v = [iov(b"v")];
    // SAFETY: a zeroed header is one without anything.
    let mut m: libc::msghdr = unsafe { std::mem::zeroed() };
    m.msg_iov = v.as_ptr().cast_mut();
    m.msg_iovlen = 1;
    // SAFETY: local and static memory.
    unsafe {
        libc::writev(kind.fd, v.as_ptr(), 1);
        libc::sendmsg(kind.fd, &raw const m, 0);
        libc::send(kind.fd, b"s".as_ptr().cast(), 1, 0);
    }
    send(kind.fd, b"w");
    send(kind.fd, b"w");
    wait();
    match state {
        State::Held => send(kind.fd, b"held"),
        State::Drained => {
            send(kind.far, b"g");
            let mut byte = [0_u8; 8];
            let mut p = libc::pollfd {
                fd: kind.fd,
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: local memory.
            unsafe {
                libc::poll(&raw mut p, 1, -1);
                assert_eq!(libc::read(kind.fd, byte.as_mut_ptr().cast(), 8), 1);
            }
        }
        _ => {}
    }
}

/// The documented exception, and nothing else: on a stream whose bytes are
/// copied, what is to be copied must be readable if its address is one that
/// could be.
fn is_excepted(call: &Call, state: State, pointer: &str, n: usize) -> bool {
    let keeps = match state {
        State::Plain => false,
        // MSG_MORE says itself that more follows.
        State::Alone => call.name == "send-more",
        _ => true,
    };
    let copied = call.is_copied && keeps;
    match pointer {
        "unmapped" | "none" => copied,
        // A vector or a header that reaches over the edge.
        "edge" => {
            copied && (call.takes == Takes::Count || call.name.contains("header") || n > EDGE)
        }
        _ => false,
    }
}

/// A buffer that can be read in part: how much of it the kernel takes of a
/// stream depends on its pages, and differs between two plain runs.
fn is_cut_short(call: &Call, kind: &Kind, pointer: &str, n: usize) -> bool {
    let stream = matches!(kind.name, "tcp" | "unix" | "pipe" | "file");
    let part = matches!(pointer, "edge" | "odd") && n > EDGE && call.takes == Takes::Bytes;
    call.sends && stream && part
}

fn all(a: &Actor, memory: &Memory, kind: &Kind, state: State) {
    for call in CALLS {
        for &(pointer, address) in &memory.pointers {
            for &n in lengths(call) {
                let zero = call.is_copied && n == 0 && call.takes != Takes::Option;
                // A poll is a wait.
                if state == State::Plain && call.name == "poll"
                    || is_cut_short(call, kind, pointer, n)
                    || !zero && is_excepted(call, state, pointer, n)
                {
                    continue;
                }
                memory.clean();
                prepare(kind, state);
                a.log(format_args!("{} {} {pointer} {n:x}", kind.name, call.name));
                // SAFETY: what the arguments are not, the kernel says.
                let (r, e) = unsafe {
                    *libc::__errno_location() = 0;
                    let r = (call.make)(kind.fd, address, n);
                    (r, *libc::__errno_location())
                };
                let e = if r < 0 { e } else { 0 };
                if state == State::Alone {
                    wait();
                }
                let came = if kind.far >= 0 {
                    send(kind.fd, b"E");
                    arrived(kind.far)
                } else {
                    String::new()
                };
                a.log(format_args!("= {r} {e} {came}"));
            }
        }
    }
}

/// Every call with every argument on every kind of descriptor, before the
/// first wait, after it, and on a stream whose bytes are kept.
fn arguments(a: &Actor) {
    let memory = Memory::new();
    let kinds = kinds(a);
    for kind in &kinds {
        all(a, &memory, kind, State::Plain);
    }
    for kind in &kinds {
        all(a, &memory, kind, State::Alone);
    }
    for state in [State::Warm, State::Held, State::Drained] {
        all(a, &memory, &kinds[0], state);
    }
}

/// Another thread changes the vector while it is being sent: any mix that the
/// kernel could take, and no byte more or less than was said.
fn vector_that_changes(a: &Actor) {
    static LEN: AtomicUsize = AtomicUsize::new(8);
    static END: AtomicBool = AtomicBool::new(false);
    const ROUNDS: usize = 4000;
    const MOST: usize = 4000;
    wait();
    let (fd, far) = a.pair();
    let bytes = [b'x'; MOST];
    let piece = |n| iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: n,
    };
    let vector = [piece(8), piece(8), piece(8)];
    let lens: [usize; 3] = std::array::from_fn(|k| (&raw const vector[k].iov_len).addr());
    let other = std::thread::spawn(move || {
        let mut k = 0;
        while !END.load(Relaxed) {
            let n = [8, 0, MOST, usize::MAX, 16][k % 5];
            // SAFETY: the vector lives until this thread was joined.
            unsafe { at::<usize>(lens[k % 3]).write_volatile(n) };
            LEN.store(n, Relaxed);
            k += 1;
        }
    });
    let (mut said, mut came) = (0_usize, 0_usize);
    for round in 0..ROUNDS {
        if round % 4 == 0 {
            wait();
        }
        // SAFETY: three pieces, of which each length is one of the above.
        let n = unsafe { libc::writev(fd, vector.as_ptr(), 3) };
        if n >= 0 {
            a.check("no more than there is", n as usize <= 3 * MOST);
            said += n as usize;
        } else {
            let e = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            let sane = [libc::EAGAIN, libc::EINVAL, libc::EFAULT].contains(&e);
            a.check("an errno of the kernel's", sane);
        }
        if round % 16 == 15 {
            came += take(far, said - came);
        }
    }
    END.store(true, Relaxed);
    a.check("the other thread ends", other.join().is_ok());
    wait();
    came += take(far, said - came);
    a.check("every byte came", came == said);
    // Something is deferred, whatever the other thread left of the vector.
    for _ in 0..8 {
        wait();
        send(fd, b"one");
        send(fd, b"two");
    }
    wait();
    a.check("the rest came", take(far, 48) == 48);
    a.log("done");
}

/// Reads so many bytes.
fn take(far: c_int, n: usize) -> usize {
    let mut room = [0_u8; 1 << 16];
    let mut got = 0;
    while got < n {
        let most = room.len().min(n - got);
        // SAFETY: local memory.
        let r = unsafe { libc::read(far, room.as_mut_ptr().cast(), most) };
        if r <= 0 {
            break;
        }
        got += r as usize;
    }
    got
}
