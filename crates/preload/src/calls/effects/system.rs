//! Changes to the system, to terminals and to other processes; messages to the
//! log; the ends of a program that no exit announces.

use super::any;
use crate::arch::trampoline::before;
use crate::process;
use crate::thread::enter;

before! { lean_trampoline, any:
    acct chroot delete_module init_module klogctl mount mount_setattr move_mount
    fsconfig fsmount fsopen fspick open_tree pivot_root quotactl reboot
    swapoff swapon umount umount2 vhangup
    __adjtimex adjtime adjtimex clock_adjtime clock_settime ntp_adjtime settimeofday
    setdomainname sethostid sethostname
    setpgid __setpgid setpgrp setsid setpriority prlimit prlimit64
    ptrace process_madvise process_mrelease
    tcflow tcflush tcsendbreak tcsetattr tcsetpgrp stty revoke
    login logout logwtmp pututline pututxline updwtmp updwtmpx
    getpass grantpt unlockpt
    openlog closelog vsyslog __vsyslog_chk
    backtrace_symbols_fd __backtrace_symbols_fd
    malloc_stats
    #[cfg(target_env = "musl")] tcsetwinsize
}
before! { variadic_trampoline, any: syslog __syslog_chk }

/// Before the C library runs a program for its caller.
fn spawns([..]: [usize; 3]) {
    if let Some(i) = enter() {
        i.before_spawn(i.seg.stats());
    }
}

before! { lean_trampoline, spawns: wordexp }

/// Before a failed assertion, or a check of the compiler's, ends the program
/// by the C library's own abort.
fn fatal([..]: [usize; 3]) {
    process::finish();
}

before! { lean_trampoline, fatal:
    __assert __assert_fail __assert_perror_fail
    __chk_fail __stack_chk_fail
}
