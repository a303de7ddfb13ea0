//! A small static web server in the manner of lwan: one thread accepts and
//! deals connections out, several threads each run an edge-triggered event
//! loop. It knows nothing of ESCA; it stands here to be run under it.
//!
//! ```sh
//! cargo run --release -p event-server -- DIR PORT THREADS
//! ```
//! Port 0 takes a free one; the first line of output says which.

mod conn;
mod files;
mod http;
mod sys;

use conn::{Conn, Next};
use files::Files;
use std::io::{self, Write};
use std::sync::Arc;

/// What a connection is watched for, once and for all (edge-triggered).
const INTEREST: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET).cast_unsigned();

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(port)) = (args.next(), args.next()) else {
        eprintln!("usage: event-server DIR PORT [THREADS]");
        std::process::exit(2);
    };
    let bad = |e| io::Error::new(io::ErrorKind::InvalidInput, e);
    let port: u16 = port.parse().map_err(bad)?;
    let threads: usize = args.next().map_or(Ok(2), |t| t.parse()).map_err(bad)?;
    let files = Arc::new(Files::load(dir.as_ref())?);
    let (listener, port) = sys::listen(port)?;
    println!("listening on 127.0.0.1:{port}");
    io::stdout().flush()?;

    let mut loops = Vec::new();
    for _ in 0..threads.max(1) {
        let epoll = sys::epoll_create()?;
        let files = Arc::clone(&files);
        std::thread::spawn(move || serve(epoll, &files));
        loops.push(epoll);
    }
    deal(listener, &loops)
}

/// Accepts connections and hands them to the event loops in turn, by adding
/// them to the other thread's epoll set.
fn deal(listener: i32, loops: &[i32]) -> io::Result<()> {
    let mut turn = loops.iter().cycle();
    loop {
        sys::poll_in(listener)?;
        while let Some(fd) = sys::accept(listener)? {
            let epoll = *turn.next().expect("there is one loop at least");
            if sys::epoll_add(epoll, fd, INTEREST).is_err() {
                sys::close(fd);
            }
        }
    }
}

/// One event loop.
fn serve(epoll: i32, files: &Files) {
    let mut conns: Vec<Option<Conn>> = Vec::new();
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 256];
    loop {
        let Ok(n) = sys::epoll_wait(epoll, &mut events) else {
            continue;
        };
        for event in &events[..n] {
            let (fd, bits) = (event.u64, event.events);
            let slot = usize::try_from(fd).expect("a descriptor number");
            if slot >= conns.len() {
                conns.resize_with(slot + 1, || None);
            }
            let conn = conns[slot].get_or_insert_with(|| Conn::new(fd as i32));
            if conn.ready(bits, files) == Next::Close {
                conns[slot] = None;
                // Last: another thread may have the number the next moment.
                sys::close(fd as i32);
            }
        }
    }
}
