//! Trampolines in front of functions that cannot be written in Rust (variadic
//! ones, and vfork, which returns twice), that look at their return address
//! (dlsym), or whose arguments are of no interest. Each runs a hook with the
//! caller's first arguments, gets the address of the function behind, and
//! jumps there with every argument and the stack as the caller left them.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{lean_trampoline, variadic_trampoline};
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{lean_trampoline, variadic_trampoline};

use crate::calls::life;

variadic_trampoline!(vfork, life::before_vfork_hook);
variadic_trampoline!(__vfork, life::before_vfork_alias_hook);
variadic_trampoline!(pthread_exit, life::before_pthread_exit_hook);
variadic_trampoline!(thrd_exit, life::before_thrd_exit_hook);
variadic_trampoline!(execl, life::before_execl_hook);
variadic_trampoline!(execlp, life::before_execlp_hook);
variadic_trampoline!(execle, life::before_execle_hook);
variadic_trampoline!(dprintf, life::before_dprintf_hook);
variadic_trampoline!(__dprintf_chk, life::before_dprintf_chk_hook);

/// Interposes functions by name. Before each, `$before` (a function of the
/// caller's first three arguments, those in integer registers) runs; whether
/// it is [`lean_trampoline`] or [`variadic_trampoline`] stands first.
macro_rules! before {
    ($kind:ident, $before:path: $($(#[$m:meta])* $name:ident)*) => { $(
        $(#[$m])*
        const _: () = {
            extern "C" fn hook(a: usize, b: usize, c: usize) -> *mut libc::c_void {
                static REAL: $crate::real::Real = $crate::real::Real::new(
                    match ::std::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                        Ok(n) => n,
                        Err(_) => panic!(),
                    },
                );
                $before([a, b, c]);
                REAL.get()
            }
            $crate::arch::trampoline::$kind!($name, hook);
        };
    )* };
}
pub(crate) use before;
