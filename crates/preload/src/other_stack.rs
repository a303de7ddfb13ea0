//! Another library after ours in the search order that defines the calls that
//! send and receive, as a TCP stack in user space does. The engine answers
//! reads itself and hands custody over by system calls, past such a library:
//! its connections would get nothing. Handing over through its functions would
//! not do either, because what the engine knows of sockets (that a short read
//! emptied one, that an edge comes when there is room) is the kernel's. So the
//! library stands aside where there is one.
//!
//! Only calls count that the engine replaces. A library that interposes others
//! (open, fsync, connect, close, malloc) is no reason; nor are the runtimes of
//! the sanitizers, which look at a call and pass it on as it is.
//!
//! A stack *before* ours in the order needs none of this: it makes its own
//! calls, and passes on those for the kernel.

use libc::{c_int, c_void, dl_phdr_info, size_t};
use std::ffi::CStr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static THERE: AtomicBool = AtomicBool::new(false);

/// What the engine makes as system calls, or answers without one.
const REPLACED: [&CStr; 12] = [
    c"write",
    c"writev",
    c"send",
    c"sendto",
    c"sendmsg",
    c"sendfile",
    c"read",
    c"readv",
    c"recv",
    c"recvfrom",
    c"recvmsg",
    c"shutdown",
];

/// Objects that are the C library's: itself, and its threads before glibc
/// 2.34, which had calls of their own.
const OWN: [&CStr; 2] = [c"__errno_location", c"pthread_getspecific"];

/// What every sanitizer's runtime has.
const SANITIZER: &CStr = c"__sanitizer_set_report_fd";

/// Whether there is such a library. May be asked anywhere: [`look`] has found
/// it out.
pub(crate) fn is_there() -> bool {
    THERE.load(Relaxed)
}

/// Called by the constructor, when every library of the program is mapped.
pub(crate) fn look() {
    let own = OWN.map(|name| object_of(next(name)));
    let outside = |at: usize, objects: &[Range<usize>]| !objects.iter().any(|o| o.contains(&at));
    let mut others = REPLACED.iter().map(|name| next(name)).filter(|at| *at != 0);
    let Some(first) = others.find(|at| outside(*at, &own)) else {
        return;
    };
    // Only now, because a symbol that is not there costs memory for a message.
    let sanitizer = [object_of(next(SANITIZER))];
    // SAFETY: forgets that message, which is not the program's.
    unsafe { libc::dlerror() };
    let foreign = |at| outside(at, &own) && outside(at, &sanitizer);
    THERE.store(foreign(first) || others.any(foreign), Relaxed);
}

/// The address of a symbol in the libraries after ours; 0 for none.
fn next(name: &CStr) -> usize {
    // SAFETY: a C string; RTLD_NEXT is a valid handle.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()).addr() }
}

/// What is looked for among the loaded objects, and what was found.
struct Search {
    at: usize,
    found: Range<usize>,
}

/// From where to where the object is mapped that has this address; an empty
/// range for 0.
fn object_of(at: usize) -> Range<usize> {
    let mut search = Search { at, found: 0..0 };
    if at != 0 {
        // SAFETY: the function takes what is passed with it, which outlives
        // the call.
        unsafe { libc::dl_iterate_phdr(Some(compare), (&raw mut search).cast()) };
    }
    search.found
}

unsafe extern "C" fn compare(info: *mut dl_phdr_info, _: size_t, data: *mut c_void) -> c_int {
    // SAFETY: what the dynamic linker and `object_of` pass.
    let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
    // SAFETY: so many headers stand there as long as the object is loaded.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = info.dlpi_addr as usize;
    let loaded = headers.iter().filter(|h| h.p_type == libc::PT_LOAD);
    let (mut from, mut to) = (usize::MAX, 0);
    for h in loaded {
        let start = base.wrapping_add(h.p_vaddr as usize);
        from = from.min(start);
        to = to.max(start.wrapping_add(h.p_memsz as usize));
    }
    if (from..to).contains(&search.at) {
        search.found = from..to;
        return 1;
    }
    0
}
