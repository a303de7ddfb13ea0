//! The symbols of `esca.h`, looked up when the program runs, so that it
//! starts where they are not.

use crate::fallback;
use std::ffi::{CStr, c_int, c_long, c_ulong, c_void};
use std::sync::OnceLock;

/// `struct esca_result` of `esca.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawResult {
    /// The descriptor.
    pub fd: c_int,
    /// The operation's number.
    pub op: c_int,
    /// Bytes, or minus an errno value.
    pub result: c_long,
}

/// The four calls, safe to make with any arguments.
pub struct Api {
    pub linked: bool,
    pub init: fn() -> c_long,
    pub start: fn(i32) -> c_long,
    pub flush: fn() -> c_long,
    pub results: fn(&mut [RawResult]) -> usize,
}

struct Linked {
    init: extern "C" fn() -> c_long,
    start: extern "C" fn(c_int) -> c_long,
    flush: extern "C" fn() -> c_long,
    results: unsafe extern "C" fn(*mut RawResult, c_ulong) -> c_long,
}

fn linked() -> Option<&'static Linked> {
    static LINKED: OnceLock<Option<Linked>> = OnceLock::new();
    let find = || {
        let (init, start) = (symbol(c"esca_init")?, symbol(c"batch_start")?);
        let (flush, results) = (symbol(c"batch_flush")?, symbol(c"esca_results")?);
        // SAFETY: whoever defines these names defines them as esca.h declares
        // them; the first three take no pointers, so any call is sound.
        unsafe {
            Some(Linked {
                init: std::mem::transmute::<*mut c_void, extern "C" fn() -> c_long>(init),
                start: std::mem::transmute::<*mut c_void, extern "C" fn(c_int) -> c_long>(start),
                flush: std::mem::transmute::<*mut c_void, extern "C" fn() -> c_long>(flush),
                results: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*mut RawResult, c_ulong) -> c_long,
                >(results),
            })
        }
    };
    LINKED.get_or_init(find).as_ref()
}

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: `name` is a C string, and RTLD_DEFAULT needs no handle.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// The calls of whoever offers them, else those that keep nothing.
pub fn api() -> &'static Api {
    static LINKED: Api = Api {
        linked: true,
        init: || linked().map_or(-1, |l| (l.init)()),
        start: |hint| linked().map_or(-1, |l| (l.start)(hint)),
        flush: || linked().map_or(-1, |l| (l.flush)()),
        results: |out| {
            let Some(l) = linked() else { return 0 };
            // SAFETY: `out` has room for as many results as is said.
            let n = unsafe { (l.results)(out.as_mut_ptr(), out.len() as c_ulong) };
            usize::try_from(n).unwrap_or(0).min(out.len())
        },
    };
    static FALLBACK: Api = Api {
        linked: false,
        init: fallback::init,
        start: fallback::start,
        flush: fallback::flush,
        results: |_| 0,
    };
    if linked().is_some() {
        &LINKED
    } else {
        &FALLBACK
    }
}
