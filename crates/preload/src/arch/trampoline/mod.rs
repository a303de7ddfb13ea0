//! Trampolines in front of functions that cannot be written in Rust (variadic
//! ones, and vfork, which returns twice). Each runs a hook of `calls/life.rs`
//! with the caller's first argument, gets the address of the function behind,
//! and jumps there with every register and the stack as the caller left them.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64::trampoline;
#[cfg(target_arch = "x86_64")]
use x86_64::trampoline;

trampoline! {
    vfork, before_vfork_hook;
    __vfork, before_vfork_alias_hook;
    pthread_exit, before_pthread_exit_hook;
    thrd_exit, before_thrd_exit_hook;
    execl, before_execl_hook;
    execlp, before_execlp_hook;
    execle, before_execle_hook;
    dprintf, before_dprintf_hook;
    __dprintf_chk, before_dprintf_chk_hook;
}
