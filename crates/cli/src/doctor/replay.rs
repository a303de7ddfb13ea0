//! A process's system calls, seen from outside, told to an engine in policy
//! watch: the same rules judge them as in a wrapped server.
//!
//! Pointers of the other process are not followed. What stands behind them is
//! assumed: TCP_NODELAY and FIONBIO are switched on, TCP_CORK on and off in
//! turn, and every stream is registered in epoll as the first one found.

use crate::observe::Counts;
use anyhow::Result;
use esca_abi::stats::{ALL, Table};
use esca_engine::segment::WaitKind;
use esca_engine::settings::{Policy, Settings};
use esca_engine::{Bytes, Engine, OpKind, Segment, WriteCall};
use libc::{O_NONBLOCK, c_long};
use procfs::net::TcpState;
use procfs::process::{FDTarget, Process};
use std::collections::{BTreeMap, BTreeSet};

/// Descriptors that are followed; those above go straight through.
const DESCRIPTORS: usize = 1 << 16;

/// One system call.
pub struct Call {
    pub number: i64,
    pub args: [u64; 6],
    pub result: i64,
}

/// The engine and what is known of the process's descriptors.
pub struct Replay {
    pid: i32,
    engine: &'static Engine,
    table: &'static Table,
    known: BTreeSet<i32>,
    corked: BTreeSet<i32>,
    /// How the process registers its streams, once one was seen.
    events: Option<u32>,
    calls: u64,
}

impl Replay {
    /// Looks at the descriptors that `pid` has now.
    pub fn new(pid: i32) -> Result<Self> {
        // One process is looked at for as long as this one runs.
        let table: &'static Table = Box::leak(Box::new(Table::new()));
        let settings = Settings {
            policy: Policy::Watch,
            ..Settings::default()
        };
        let engine = Box::leak(Box::new(Engine::new(settings, DESCRIPTORS, table)?));
        let mut replay = Replay {
            pid,
            engine,
            table,
            known: BTreeSet::new(),
            corked: BTreeSet::new(),
            events: None,
            calls: 0,
        };
        replay.look_at_descriptors()?;
        Ok(replay)
    }

    fn look_at_descriptors(&mut self) -> Result<()> {
        let process = Process::new(self.pid)?;
        let tables = [process.tcp(), process.tcp6()];
        let tcp: BTreeMap<u64, TcpState> = tables
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| (e.inode, e.state))
            .collect();
        let Some(seg) = self.engine.enter_thread() else {
            return Ok(());
        };
        for fd in process.fd()?.flatten() {
            let n = fd.fd;
            self.known.insert(n);
            let state = match fd.target {
                FDTarget::Socket(inode) => tcp.get(&inode),
                _ => None,
            };
            let Some(state) = state else {
                self.engine.made_other(n);
                continue;
            };
            let flags = if self.is_nonblocking(n) {
                libc::SOCK_NONBLOCK
            } else {
                0
            };
            let kind = libc::SOCK_STREAM | flags;
            self.engine.made_socket(n, libc::AF_INET, kind, 0);
            if *state != TcpState::Listen {
                // Connected: as if something had been sent.
                self.engine.after_write(seg, n, OpKind::Write, 0, 1);
            }
        }
        self.engine.leave_thread(seg);
        Ok(())
    }

    fn is_nonblocking(&self, fd: i32) -> bool {
        let text = std::fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", self.pid));
        let text = text.unwrap_or_default();
        let flags = text.lines().find_map(|l| l.strip_prefix("flags:"));
        let flags = flags.and_then(|f| i32::from_str_radix(f.trim(), 8).ok());
        flags.is_some_and(|f| f & O_NONBLOCK != 0)
    }

    /// Finds out how streams are registered, until it is known.
    pub fn look_at_epoll(&mut self) {
        if self.events.is_some() {
            return;
        }
        let Ok(process) = Process::new(self.pid) else {
            return;
        };
        for fd in process.fd().into_iter().flatten().flatten() {
            if !matches!(&fd.target, FDTarget::AnonInode(k) if k.contains("eventpoll")) {
                continue;
            }
            let path = format!("/proc/{}/fdinfo/{}", self.pid, fd.fd);
            let text = std::fs::read_to_string(path).unwrap_or_default();
            // "tfd: 12 events: 80002019 data: ...". Listeners are registered
            // otherwise than streams, which ask for hang-ups or come later.
            let entries = text.lines().filter_map(|l| {
                let mut words = l.split_whitespace();
                words.find(|w| *w == "events:")?;
                u32::from_str_radix(words.next()?, 16).ok()
            });
            let streams: Vec<_> = entries.filter(|e| e & libc::EPOLLET as u32 != 0).collect();
            if let Some(e) = streams.first() {
                self.events = Some(*e);
                return;
            }
        }
    }

    /// What was counted, and all system calls.
    pub fn counted(&self) -> (Counts, u64) {
        let mut bytes = vec![0; size_of::<Table>()];
        for c in ALL {
            let at = std::mem::offset_of!(Table, slots) + *c as usize * size_of::<u64>();
            let n = self.table.total(*c).to_ne_bytes();
            bytes[at..at + n.len()].copy_from_slice(&n);
        }
        (Counts::decode(&bytes), self.calls)
    }

    /// Tells the engine one thread's calls, in order.
    pub fn thread(&mut self, calls: &[Call]) {
        let Some(seg) = self.engine.enter_thread() else {
            return;
        };
        for c in calls {
            self.calls += 1;
            self.tell(seg, c);
        }
        self.engine.leave_thread(seg);
    }

    /// A descriptor of unknown origin is none that could be deferred; the
    /// engine must not look at its own descriptor of that number.
    fn known(&mut self, fd: i32) -> i32 {
        if self.known.insert(fd) {
            self.engine.made_other(fd);
        }
        fd
    }

    fn tell(&mut self, seg: &Segment, c: &Call) {
        let e = self.engine;
        let a = c.args;
        let fd = a[0] as i32;
        let new = i32::try_from(c.result).ok().filter(|n| *n >= 0);
        match c.number as c_long {
            n if is_wait(n) => {
                let kind = if is_epoll(n) {
                    WaitKind::Epoll
                } else {
                    WaitKind::Level
                };
                e.before_wait(seg, kind);
                e.after_wait(seg, new.unwrap_or(0) as u32);
            }
            libc::SYS_read => self.read(seg, c, a[2] as usize, 0),
            libc::SYS_recvfrom => self.read(seg, c, a[2] as usize, a[3] as i32),
            libc::SYS_readv => self.read(seg, c, 0, 0),
            libc::SYS_recvmsg => self.read(seg, c, 0, libc::MSG_PEEK),
            libc::SYS_write => self.write(seg, c, OpKind::Write, 0, a[2]),
            libc::SYS_writev => self.write(seg, c, OpKind::Writev, 0, taken(c)),
            libc::SYS_sendto if a[4] == 0 => {
                self.write(seg, c, OpKind::Send, a[3] as i32, a[2]);
            }
            libc::SYS_sendmsg => self.write(seg, c, OpKind::Sendmsg, a[2] as i32, taken(c)),
            libc::SYS_sendfile => {
                self.known(fd);
                // SAFETY: no offset; in policy watch nothing is read.
                unsafe { e.sendfile(seg, fd, a[1] as i32, std::ptr::null_mut(), a[3] as usize) };
                e.after_sendfile(seg, fd, false, c.result as isize);
            }
            libc::SYS_setsockopt => {
                self.known(fd);
                let (level, name) = (a[1] as i32, a[2] as i32);
                let value = if (level, name) == (libc::IPPROTO_TCP, libc::TCP_CORK) {
                    i32::from(self.corked.insert(fd) || !self.corked.remove(&fd))
                } else {
                    1
                };
                e.setsockopt(seg, fd, level, name, || Some(value));
                if c.result == 0 {
                    e.after_setsockopt(fd, level, name, || Some(value));
                }
            }
            n if is_accept(n) => {
                let flags = if n == libc::SYS_accept4 {
                    a[3] as i32
                } else {
                    0
                };
                self.known(fd);
                e.before_accept(seg, fd);
                if let Some(new) = new {
                    e.accepted(fd, new, flags);
                    self.known.insert(new);
                }
            }
            libc::SYS_socket => {
                if let Some(new) = new {
                    e.made_socket(new, fd, a[1] as i32, a[2] as i32);
                    self.known.insert(new);
                }
            }
            libc::SYS_openat => self.opened(seg, a[2] as i32, new),
            n if is_open(n) => self.opened(seg, a[1] as i32, new),
            libc::SYS_close => {
                self.known(fd);
                e.close(seg, fd);
                self.known.remove(&fd);
                self.corked.remove(&fd);
            }
            libc::SYS_shutdown => {
                self.known(fd);
                e.shutdown(seg, fd, a[1] as i32);
            }
            libc::SYS_epoll_ctl if c.result == 0 => {
                let target = self.known(a[2] as i32);
                match a[1] as i32 {
                    libc::EPOLL_CTL_DEL => e.unregistered(target),
                    _ => e.registered(
                        fd,
                        target,
                        libc::epoll_event {
                            events: self.events.unwrap_or(0),
                            u64: a[2],
                        },
                    ),
                }
            }
            libc::SYS_fcntl => {
                self.known(fd);
                match a[1] as i32 {
                    libc::F_SETFL => e.nonblocking(seg, fd, a[2] as i32 & O_NONBLOCK != 0),
                    libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => self.duplicated(seg, fd, new),
                    _ => {}
                }
            }
            libc::SYS_ioctl if a[1] == libc::FIONBIO => {
                self.known(fd);
                e.nonblocking(seg, fd, true);
            }
            n if is_dup(n) => {
                self.known(fd);
                self.duplicated(seg, fd, new);
            }
            n if is_effect(n) => e.effect(seg),
            _ => {
                // Whatever else gives a number gives none that matters.
            }
        }
    }

    fn read(&mut self, seg: &Segment, c: &Call, want: usize, flags: i32) {
        let fd = self.known(c.args[0] as i32);
        let _ = self.engine.before_read(seg, fd, want, flags);
        let (n, errno) = if c.result < 0 {
            (-1, -c.result as i32)
        } else {
            (c.result as isize, 0)
        };
        self.engine.after_read(seg, fd, want, flags, n, errno);
    }

    fn write(&mut self, seg: &Segment, c: &Call, kind: OpKind, flags: i32, len: u64) {
        let fd = self.known(c.args[0] as i32);
        let call = WriteCall {
            fd,
            kind,
            flags,
            bytes: Bytes::One(std::ptr::without_provenance(usize::MAX), len as usize),
        };
        // SAFETY: in policy watch the engine asks for the length only.
        unsafe { self.engine.write(seg, &call) };
        let n = c.result.max(-1) as isize;
        self.engine.after_write(seg, fd, kind, flags, n);
    }

    fn opened(&mut self, seg: &Segment, flags: i32, new: Option<i32>) {
        self.engine.before_open(seg, flags);
        if let Some(new) = new {
            self.engine.opened(new, flags);
            self.known.insert(new);
        }
    }

    fn duplicated(&mut self, seg: &Segment, fd: i32, new: Option<i32>) {
        self.engine.before_dup(seg, fd);
        if let Some(new) = new {
            self.engine.duplicated(fd, new);
            self.known.insert(new);
        }
    }
}

/// The bytes of a call whose vector is not followed: what the kernel took.
fn taken(c: &Call) -> u64 {
    c.result.max(1) as u64
}

#[cfg(target_arch = "x86_64")]
mod old {
    //! Calls that younger architectures do not have.
    use libc::*;
    pub const WAITS: &[c_long] = &[SYS_epoll_wait, SYS_poll, SYS_select];
    pub const EPOLL: c_long = SYS_epoll_wait;
    pub const ACCEPT: c_long = SYS_accept;
    pub const OPEN: c_long = SYS_open;
    pub const DUP2: c_long = SYS_dup2;
    pub const EFFECTS: &[c_long] = &[
        SYS_unlink,
        SYS_rename,
        SYS_mkdir,
        SYS_rmdir,
        SYS_link,
        SYS_symlink,
        SYS_chmod,
        SYS_chown,
    ];
}
#[cfg(not(target_arch = "x86_64"))]
mod old {
    //! Nothing: this architecture has the younger calls only.
    use libc::*;
    pub const WAITS: &[c_long] = &[];
    pub const EPOLL: c_long = SYS_epoll_pwait;
    pub const ACCEPT: c_long = SYS_accept;
    pub const OPEN: c_long = SYS_openat;
    pub const DUP2: c_long = SYS_dup3;
    pub const EFFECTS: &[c_long] = &[];
}

fn is_epoll(n: c_long) -> bool {
    n == old::EPOLL || matches!(n, libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2)
}

fn is_wait(n: c_long) -> bool {
    is_epoll(n) || old::WAITS.contains(&n) || matches!(n, libc::SYS_ppoll | libc::SYS_pselect6)
}

fn is_accept(n: c_long) -> bool {
    n == old::ACCEPT || n == libc::SYS_accept4
}

fn is_open(n: c_long) -> bool {
    n == old::OPEN
}

fn is_dup(n: c_long) -> bool {
    n == old::DUP2 || matches!(n, libc::SYS_dup | libc::SYS_dup3)
}

/// Calls that show to others or may block: custody would be flushed.
fn is_effect(n: c_long) -> bool {
    old::EFFECTS.contains(&n) || EFFECTS.contains(&n)
}

const EFFECTS: &[c_long] = &[
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_kill,
    libc::SYS_tgkill,
    libc::SYS_wait4,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_ftruncate,
];
