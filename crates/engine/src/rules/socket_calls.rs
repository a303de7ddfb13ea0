//! Rule `socket-calls`: `read` and `write` on a stream reach the kernel as
//! `recv` and `send`.
//!
//! Matches: a `read` or a `write` of one byte or more on a connected TCP
//! socket, that goes to the kernel by itself. Makes of it: `recv` or `send`
//! with no flags, which enter the socket without the file layer before it
//! (`vfs_read` and `vfs_write` in fs/read_write.c: checks of mode and range,
//! the security hook for files, notification, accounting).
//!
//! Why no observer can tell: both ways end in the same function of the socket
//! with the same arguments, the same blocking mode, and `SIGPIPE` as before
//! (net/socket.c: `sock_read_iter`, `sock_write_iter`, `__sys_recvfrom`,
//! `__sys_sendto`). Calls for no bytes differ, and for more than a signed
//! number holds: they are left alone. A number that another thread gives to a
//! file in between is refused with ENOTSOCK before anything happened, and the
//! plain call follows. What counts system calls (/proc/PID/io, strace) sees
//! others.

use super::{About, Rule};
use esca_abi::stats::Counter;

/// Name and counter.
pub const ABOUT: About = About {
    rule: Rule::SocketCalls,
    name: "socket-calls",
    counter: Counter::RuleSocketCalls,
};
