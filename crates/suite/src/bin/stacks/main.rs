//! Measures the stack that a function of the C library takes: each is called
//! once, in a process of its own, on a stack that was painted before.
//!
//! `stacks STATE NAME...` prints a line with each name and its bytes. It has no
//! `main` of Rust's, which would poll: in the first state nothing was waited
//! for.
#![no_main]

mod table;

use esca_suite::stack;
use std::arch::asm;
use std::ffi::CString;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr::null_mut;
use table::{Arg, TABLE};

/// More than any function of the C library takes here.
const SIZE: usize = 512 << 10;
const PAINT: u8 = 0xa5;

/// What the arguments name.
pub struct World {
    /// A stream that promises, in the states that have one.
    pub stream: i32,
    /// Another descriptor, of a file.
    pub file: i32,
    /// One to wait for.
    pub thread: libc::pthread_t,
}

#[unsafe(no_mangle)]
extern "C" fn main() -> libc::c_int {
    let args: Vec<String> = std::env::args().collect();
    let [_, state, names @ ..] = args.as_slice() else {
        // Which functions it knows how to call.
        TABLE.iter().for_each(|(name, _)| println!("{name}"));
        return 0;
    };
    let state = stack::STATES.iter().position(|s| s == state);
    let Some(state) = state else { return 2 };
    for name in names {
        let Some((_, args)) = TABLE.iter().find(|(n, _)| n == name) else {
            eprintln!("{name} has no entry in the table");
            return 3;
        };
        println!("{name} {}", measure(state, name, args));
    }
    0
}

/// Bytes of stack that the function took, up to its return or its end.
fn measure(state: usize, name: &str, args: &[Arg]) -> usize {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, which the child has too.
    let at = unsafe {
        let at = libc::mmap(null_mut(), SIZE, access, flags, -1, 0).cast::<u8>();
        assert_ne!(at.cast(), libc::MAP_FAILED);
        at.write_bytes(PAINT, SIZE);
        at
    };
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => call(state, name, args, at.wrapping_add(SIZE)),
        child => {
            let mut status = 0;
            // SAFETY: a local int.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            let fault = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) != libc::SIGABRT;
            assert!(!fault, "{name} ended by {}", libc::WTERMSIG(status));
        }
    }
    // SAFETY: the mapping.
    let bytes = unsafe { std::slice::from_raw_parts(at, SIZE) };
    let clean = bytes.iter().take_while(|b| **b == PAINT).count();
    // SAFETY: used no more.
    unsafe { libc::munmap(at.cast(), SIZE) };
    SIZE - clean
}

/// Brings the process into its state and makes the call.
fn call(state: usize, name: &str, args: &[Arg], top: *mut u8) -> ! {
    let symbol = CString::new(name).expect("a name");
    // SAFETY: a C string.
    let f = unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) };
    if f.is_null() {
        // The C library has none of that name.
        std::process::exit(0);
    }
    let world = world(state);
    let mut a = [0_usize; 6];
    for (to, arg) in a.iter_mut().zip(args) {
        *to = arg.value(&world);
    }
    // SAFETY: the stack is large enough, the arguments are harmless ones, and
    // the process ends here: also one that the call begins.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "xor eax, eax",
            "call {f}",
            "mov edi, 0",
            "mov eax, 231",
            "syscall",
            top = in(reg) top,
            f = in(reg) f,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("rcx") a[3], in("r8") a[4], in("r9") a[5],
            options(noreturn),
        );
        #[cfg(target_arch = "aarch64")]
        asm!(
            "mov sp, {top}",
            "blr {f}",
            "mov x0, 0",
            "mov x8, 94",
            "svc 0",
            top = in(reg) top,
            f = in(reg) f,
            in("x0") a[0], in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(noreturn),
        );
    }
}

/// The state: see [`stack::STATES`].
fn world(state: usize) -> World {
    signals();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let pair = || {
        let far = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let none = null_mut();
        let at = listener.as_raw_fd();
        let _stays_open = far.into_raw_fd();
        // SAFETY: no address is asked for.
        unsafe { libc::accept4(at, none, none.cast(), libc::SOCK_NONBLOCK) }
    };
    let stream = pair();
    let mut thread = 0;
    // SAFETY: /dev/null, and a thread that is over at once.
    let file = unsafe {
        libc::pthread_create(&raw mut thread, std::ptr::null(), nothing, null_mut());
        libc::open(c"/dev/null".as_ptr(), libc::O_RDWR)
    };
    if state > 0 {
        wait();
    }
    if state > 1 {
        let streams: Vec<i32> = match state {
            2 => vec![stream],
            _ => (0..40).map(|_| pair()).chain([stream]).collect(),
        };
        for _ in 0..4 {
            write(stream, 2);
            wait();
        }
        if state > 2 {
            keep_all();
        }
        // Round and round, so that neighbours in custody are of two streams.
        for _ in 0..5 {
            streams.iter().for_each(|fd| write(*fd, 1));
        }
    }
    // A close would hand over what is held.
    std::mem::forget(listener);
    World {
        stream,
        file,
        thread,
    }
}

extern "C" fn nothing(p: *mut libc::c_void) -> *mut libc::c_void {
    p
}

/// Begins an explicit segment, where there is the library: all that follows is
/// kept, of all streams.
fn keep_all() {
    // SAFETY: the function of esca.h, with its argument.
    unsafe {
        let begin = libc::dlsym(libc::RTLD_DEFAULT, c"batch_start".as_ptr());
        if !begin.is_null() {
            let begin: extern "C" fn(libc::c_int) -> libc::c_int = std::mem::transmute(begin);
            assert_eq!(begin(1), 0);
        }
    }
}

fn wait() {
    // SAFETY: no descriptors.
    unsafe { libc::poll(null_mut(), 0, 0) };
}

fn write(fd: i32, times: usize) {
    for _ in 0..times {
        // SAFETY: a literal.
        unsafe { libc::write(fd, c"12345678".as_ptr().cast(), 8) };
    }
}

extern "C" fn on_alarm(_: libc::c_int) {}

/// SIGUSR1 is blocked and pending, for the calls that wait for one. An alarm
/// comes again and again on a stack of its own, for those that wait for any.
fn signals() {
    let stack = vec![0_u8; 64 << 10].leak();
    // SAFETY: local structs, and a stack that stays.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, null_mut());
        libc::raise(libc::SIGUSR1);
        let own = libc::stack_t {
            ss_sp: stack.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: stack.len(),
        };
        libc::sigaltstack(&raw const own, null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_alarm as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        libc::sigaction(libc::SIGALRM, &raw const action, null_mut());
        let often = libc::timeval {
            tv_sec: 0,
            tv_usec: 5000,
        };
        let timer = libc::itimerval {
            it_interval: often,
            it_value: often,
        };
        libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const timer, 0);
    }
}
