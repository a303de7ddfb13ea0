//! Calls that another process could observe, or that may block: everything in
//! custody goes first, then the plain call. A line or a name each: a signature
//! where the `libc` crate has one to compare with, else a trampoline.
//!
//! Which functions stand here and which need not is told by the suite's
//! `coverage/libc.txt`, and checked by its test `coverage`.

mod files;
mod ipc;
mod names;
mod signals;
mod sleeps;
mod stdio;
mod system;

use crate::real::{errno, set_errno};
use crate::thread::enter;

/// Before an effect, or a call that may block. It leaves errno alone: perror(3)
/// reads it.
#[inline]
fn effect() {
    if let Some(i) = enter() {
        let e = errno();
        i.effect(i.seg);
        set_errno(e);
    }
}

/// [`effect`] for a trampoline.
#[inline]
fn any([..]: [usize; 3]) {
    effect();
}

/// Before a call that shows outside perhaps, and often: stdio's buffers. It
/// brings no news, so that what is known of the last reads stays.
#[inline]
fn quick([..]: [usize; 3]) {
    if let Some(i) = enter()
        && i.has_custody(i.seg)
    {
        let e = errno();
        i.effect(i.seg);
        set_errno(e);
    }
}

/// Before the descriptor in the first argument gets a meaning that the engine
/// cannot follow.
fn leave_alone([fd, ..]: [usize; 3]) {
    leave_fd_alone(fd as libc::c_int);
}

fn leave_fd_alone(fd: libc::c_int) {
    crate::origin::forget(fd);
    if let Some(i) = enter() {
        let e = errno();
        i.leave_alone(i.seg, fd);
        set_errno(e);
    }
}

macro_rules! effects {
    (unchecked $($name:ident($($a:ident: $t:ty),*) -> $r:ty;)*) => {
        $crate::real::interpose! { unchecked $(fn $name($($a: $t),*) -> $r, real {
            effect();
            // SAFETY: the program's own arguments.
            unsafe { real($($a),*) }
        })* }
    };
    ($($name:ident($($a:ident: $t:ty),*) -> $r:ty;)*) => {
        $crate::real::interpose! { $(fn $name($($a: $t),*) -> $r, real {
            effect();
            // SAFETY: the program's own arguments.
            unsafe { real($($a),*) }
        })* }
    };
}
use effects;
