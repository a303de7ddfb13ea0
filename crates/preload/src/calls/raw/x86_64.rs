//! Every system call of x86-64, and how it is treated when it comes by
//! syscall(2). Plain data: the suite's test `coverage` reads this file, too.

treatments! {
    // Routed to the function of its name here: the engine has a part in it.
    Routed:
        SYS_connect
        SYS_accept SYS_accept4 SYS_close SYS_close_range SYS_creat SYS_dup SYS_dup2 SYS_dup3
        SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2
        SYS_epoll_wait SYS_fcntl SYS_getsockopt SYS_ioctl SYS_open SYS_openat SYS_pipe SYS_pipe2
        SYS_poll SYS_ppoll SYS_preadv2 SYS_pselect6
        SYS_pwritev2 SYS_read SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_select
        SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto
        SYS_setsockopt SYS_shutdown SYS_socket SYS_socketpair SYS_splice SYS_tee SYS_vmsplice
        SYS_write SYS_writev;
    // Goes after custody; a descriptor that it makes is never a stream.
    Makes:
        SYS_bpf SYS_epoll_create SYS_epoll_create1 SYS_eventfd SYS_eventfd2 SYS_fanotify_init
        SYS_fsmount SYS_fsopen SYS_fspick
        SYS_inotify_init SYS_inotify_init1 SYS_io_uring_setup SYS_landlock_create_ruleset
        SYS_memfd_create
        SYS_memfd_secret SYS_mq_open SYS_open_by_handle_at SYS_open_tree SYS_openat2
        SYS_perf_event_open SYS_pidfd_open
        SYS_signalfd SYS_signalfd4 SYS_timerfd_create SYS_userfaultfd;
    // Makes a thread or a process, of which no hook hears.
    Begins:
        SYS_clone SYS_clone3 SYS_fork SYS_vfork;
    // Puts another program in place of this one.
    Execs:
        SYS_execve SYS_execveat;
    // Ends the process.
    Ends:
        SYS_exit_group;
    // Changes what the process or the thread is.
    Life:
        SYS_capset SYS_exit SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler
        SYS_setfsgid SYS_setfsuid SYS_setgid
        SYS_setgroups SYS_setns SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid SYS_setuid
        SYS_unshare;
    // May block, or shows outside: goes after custody.
    Effect:
        SYS_acct SYS_add_key SYS_adjtimex SYS_bind SYS_chmod SYS_chown SYS_chroot
        SYS_clock_adjtime SYS_clock_nanosleep
        SYS_clock_settime  SYS_copy_file_range SYS_delete_module SYS_fallocate
        SYS_fchmod SYS_fchmodat SYS_fchmodat2
        SYS_fchown SYS_fchownat SYS_fdatasync SYS_finit_module SYS_flock SYS_fremovexattr
        SYS_fsconfig SYS_fsetxattr SYS_fsync
        SYS_ftruncate SYS_futex SYS_futex_waitv SYS_futimesat SYS_init_module SYS_io_cancel
        SYS_io_destroy SYS_io_getevents
        SYS_io_setup SYS_io_submit SYS_io_uring_enter SYS_io_uring_register SYS_ioprio_set
        SYS_kexec_file_load
        SYS_kexec_load SYS_keyctl SYS_kill SYS_landlock_add_rule SYS_landlock_restrict_self
        SYS_lchown SYS_link SYS_linkat
        SYS_listen SYS_lremovexattr SYS_lsetxattr SYS_migrate_pages SYS_mkdir SYS_mkdirat
        SYS_mknod SYS_mknodat SYS_mount
        SYS_mount_setattr SYS_move_mount SYS_move_pages SYS_mq_getsetattr SYS_mq_notify
        SYS_mq_timedreceive SYS_mq_timedsend
        SYS_mq_unlink SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_nanosleep
        SYS_pause SYS_pidfd_send_signal SYS_pivot_root
        SYS_prlimit64 SYS_process_madvise SYS_process_mrelease SYS_process_vm_writev SYS_ptrace
        SYS_pwrite64 SYS_pwritev
        SYS_quotactl SYS_quotactl_fd SYS_reboot SYS_removexattr SYS_rename SYS_renameat
        SYS_renameat2 SYS_request_key
        SYS_restart_syscall SYS_rmdir SYS_rt_sigqueueinfo SYS_rt_sigsuspend SYS_rt_sigtimedwait
        SYS_rt_tgsigqueueinfo
        SYS_sched_yield SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_setdomainname
        SYS_sethostname SYS_setpgid SYS_setpriority
        SYS_setsid SYS_settimeofday SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget
        SYS_swapoff SYS_swapon SYS_symlink SYS_symlinkat
        SYS_sync SYS_sync_file_range SYS_syncfs SYS_syslog SYS_tgkill SYS_tkill SYS_truncate
        SYS_umount2 SYS_unlink SYS_unlinkat SYS_utime
        SYS_utimensat SYS_utimes SYS_vhangup SYS_wait4 SYS_waitid;
    // Nothing moves on a descriptor, shows outside or waits for others.
    Plain:
        SYS_access SYS_alarm SYS_arch_prctl SYS_brk SYS_capget SYS_chdir SYS_clock_getres
        SYS_clock_gettime SYS_faccessat SYS_faccessat2
        SYS_fadvise64 SYS_fanotify_mark SYS_fchdir SYS_fgetxattr SYS_flistxattr SYS_fstat
        SYS_fstatfs SYS_get_mempolicy
        SYS_get_robust_list SYS_get_thread_area SYS_getcpu SYS_getcwd SYS_getdents SYS_getdents64
        SYS_getegid SYS_geteuid SYS_getgid
        SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpgrp SYS_getpid SYS_getppid
        SYS_getpriority SYS_getrandom
        SYS_getresgid SYS_getresuid SYS_getrlimit SYS_getrusage SYS_getsid SYS_getsockname
        SYS_gettid SYS_gettimeofday SYS_getuid
        SYS_getxattr SYS_inotify_add_watch SYS_inotify_rm_watch SYS_ioperm SYS_iopl SYS_ioprio_get
        SYS_kcmp SYS_lgetxattr
        SYS_listxattr SYS_llistxattr SYS_lseek SYS_lstat SYS_madvise SYS_mbind SYS_membarrier
        SYS_mincore SYS_mlock SYS_mlock2 SYS_mlockall
        SYS_mmap SYS_modify_ldt SYS_mprotect SYS_mremap SYS_mseal SYS_munlock SYS_munlockall
        SYS_munmap SYS_name_to_handle_at
        SYS_newfstatat SYS_personality SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_prctl
        SYS_pread64 SYS_preadv
        SYS_process_vm_readv SYS_readahead SYS_readlink SYS_readlinkat SYS_remap_file_pages
        SYS_rseq SYS_rt_sigaction
        SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sched_get_priority_max
        SYS_sched_get_priority_min
        SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler
        SYS_sched_rr_get_interval
        SYS_sched_setaffinity SYS_seccomp SYS_set_mempolicy SYS_set_mempolicy_home_node
        SYS_set_robust_list
        SYS_set_thread_area SYS_set_tid_address SYS_setitimer SYS_setrlimit SYS_sigaltstack
        SYS_stat SYS_statfs SYS_statx
        SYS_sysinfo SYS_time SYS_timer_create SYS_timer_delete SYS_timer_getoverrun
        SYS_timer_gettime SYS_timer_settime
        SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_umask SYS_uname SYS_ustat;
    // Not understood, or gone from the kernel long ago: nothing learned holds.
    Unknown:
        SYS__sysctl SYS_afs_syscall SYS_epoll_ctl_old SYS_epoll_wait_old SYS_getpmsg
        SYS_lookup_dcookie SYS_nfsservctl
        SYS_pidfd_getfd SYS_putpmsg SYS_security SYS_sysfs SYS_tuxcall SYS_uselib SYS_vserver;
}
