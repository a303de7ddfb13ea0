//! A server that answers one small message at a time: a program with nothing
//! to aggregate, to show what ESCA costs.

use anyhow::{Context, Result, bail};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

#[derive(clap::Args)]
pub struct ServerArgs {
    port: u16,
}

/// Waits for one event; by the C library, so that it can be interposed.
fn wait(ep: i32) -> Result<u64> {
    let mut ev = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: room for one event.
    match unsafe { libc::epoll_wait(ep, &raw mut ev, 1, -1) } {
        1 => Ok(ev.u64),
        _ => bail!(std::io::Error::last_os_error()),
    }
}

fn watch(ep: i32, fd: i32) -> Result<()> {
    let mut ev = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: fd as u64,
    };
    // SAFETY: a local event and open descriptors.
    if unsafe { libc::epoll_ctl(ep, libc::EPOLL_CTL_ADD, fd, &raw mut ev) } != 0 {
        bail!(std::io::Error::last_os_error());
    }
    Ok(())
}

pub fn server(args: &ServerArgs) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", args.port)).context("cannot listen")?;
    listener.set_nonblocking(true)?;
    // SAFETY: no pointers.
    let ep = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    watch(ep, listener.as_raw_fd())?;
    let mut peers: Vec<TcpStream> = Vec::new();
    let mut room = [0; 4096];
    loop {
        let fd = wait(ep)? as i32;
        if fd == listener.as_raw_fd() {
            if let Ok((peer, _)) = listener.accept() {
                peer.set_nonblocking(true)?;
                peer.set_nodelay(true)?;
                watch(ep, peer.as_raw_fd())?;
                peers.push(peer);
            }
            continue;
        }
        let Some(i) = peers.iter().position(|p| p.as_raw_fd() == fd) else {
            continue;
        };
        match peers[i].read(&mut room) {
            Ok(n) if n > 0 => peers[i].write_all(&room[..n])?,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            _ => drop(peers.swap_remove(i)),
        }
    }
}
