//! The calls that start a thread: the library is told before there is one.

use crate::process;
use crate::real::interpose;
use libc::{c_int, c_void, pthread_attr_t, pthread_t};

interpose! {
    fn pthread_create(
        id: *mut pthread_t, attr: *const pthread_attr_t,
        main: extern "C" fn(*mut c_void) -> *mut c_void, arg: *mut c_void,
    ) -> c_int, real {
        process::before_thread();
        // SAFETY: the program's own arguments.
        unsafe { real(id, attr, main, arg) }
    }
}

interpose! { unchecked
    // The C library's own does not call pthread_create by that name.
    fn thrd_create(
        id: *mut pthread_t, main: extern "C" fn(*mut c_void) -> c_int, arg: *mut c_void,
    ) -> c_int, real {
        process::before_thread();
        // SAFETY: the program's own arguments.
        unsafe { real(id, main, arg) }
    }
}
