//! The functions behind ours: the next ones in the dynamic linker's order, so
//! that other preloaded libraries go on working.

use libc::{c_int, c_long, c_void};
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering::*};

/// A function of the next library, looked up once.
pub(crate) struct Real {
    name: &'static CStr,
    at: AtomicPtr<c_void>,
}

impl Real {
    pub const fn new(name: &'static CStr) -> Self {
        Real {
            name,
            at: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Its address; a function that fails with ENOSYS where the C library has
    /// none of that name.
    #[inline]
    pub fn get(&self) -> *mut c_void {
        let p = self.at.load(Relaxed);
        if p.is_null() { self.find() } else { p }
    }

    #[cold]
    fn find(&self) -> *mut c_void {
        // SAFETY: a C string; RTLD_NEXT is a valid handle.
        let mut p = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        if p.is_null() {
            p = missing as *mut c_void;
        }
        self.at.store(p, Relaxed);
        p
    }
}

/// Looks every function up, in the constructor: the dynamic linker takes a lock
/// and more of the stack than a call may, which in a call would be those of a
/// signal handler or of a coroutine.
pub(crate) fn find_all() {
    #[allow(improper_ctypes)] // Only the addresses are used.
    unsafe extern "C" {
        // The linker's names for the ends of the section.
        #[link_name = "__start_esca_real"]
        static FIRST: *const Real;
        #[link_name = "__stop_esca_real"]
        static END: *const Real;
    }
    let (mut at, end) = (&raw const FIRST, &raw const END);
    while at < end {
        // SAFETY: between the ends stand references to statics.
        unsafe { (**at).get() };
        at = at.wrapping_add(1);
    }
}

extern "C" fn missing() -> c_long {
    set_errno(libc::ENOSYS);
    -1
}

/// The calling thread's errno.
#[inline]
pub(crate) fn errno() -> c_int {
    // SAFETY: the C library gives the thread's own errno.
    unsafe { *libc::__errno_location() }
}

/// Stores errno and gives -1, as a failing call does.
#[inline]
pub(crate) fn set_errno(e: c_int) -> c_int {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = e };
    -1
}

/// Defines exported functions that interpose the C library's.
///
/// `fn name(args) -> ret, real { body }`: the body calls the function behind
/// as `real(args)`. The signature is compared with the `libc` crate's at
/// compile time; `unchecked fn` marks the few that `libc` declares variadic
/// or not at all.
///
/// Variadic functions of the C library are defined with the fixed arguments
/// of their widest form: on x86-64 (System V) and aarch64 (AAPCS64, Linux) a
/// variadic integer argument travels in the same register as a named one, and
/// reading one that the caller did not pass yields a value that is not used.
macro_rules! interpose {
    ($($(#[$m:meta])* fn $name:ident($($a:ident: $t:ty),* $(,)?) $(-> $r:ty)?, $real:ident $body:block)*) => { $(
        const _: unsafe extern "C" fn($($t),*) $(-> $r)? = libc::$name;
        $crate::real::interpose!(unchecked $(#[$m])* fn $name($($a: $t),*) $(-> $r)?, $real $body);
    )* };
    (unchecked $($(#[$m:meta])* fn $name:ident($($a:ident: $t:ty),* $(,)?) $(-> $r:ty)?, $real:ident $body:block)*) => { $(
        $(#[$m])*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($a: $t),*) $(-> $r)? {
            static REAL: $crate::real::Real = $crate::real::Real::new(
                match ::std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(n) => n,
                    Err(_) => panic!(),
                },
            );
            // Known to `find_all`.
            #[used]
            #[unsafe(link_section = "esca_real")]
            static KNOWN: &$crate::real::Real = &REAL;
            // SAFETY: the address is that of the C library's function of this
            // name, whose signature is this one.
            let $real: unsafe extern "C" fn($($t),*) $(-> $r)? = unsafe { ::std::mem::transmute(REAL.get()) };
            $body
        }
    )* };
}
pub(crate) use interpose;
