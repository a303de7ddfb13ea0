//! An explicit segment: three writes on two streams and the end of one of
//! them, handed to the kernel together, and what became of each.
//!
//! ```sh
//! cargo run --release -p explicit-rust                 # without ESCA
//! LD_PRELOAD=target/release/libesca_preload.so target/release/explicit-rust
//! ```

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// A connection over loopback: the server's end, non-blocking as a server
/// has it, and the client's.
fn pair(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    server.set_nonblocking(true)?;
    Ok((server, client))
}

fn main() -> io::Result<()> {
    esca::init()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (mut first, mut first_peer) = pair(&listener)?;
    let (mut second, mut second_peer) = pair(&listener)?;

    let segment = esca::Segment::start(4)?;
    first.write_all(b"HTTP/1.1 200 OK\r\n")?;
    second.write_all(b"+PONG\r\n")?;
    first.write_all(b"Content-Length: 0\r\n\r\n")?;
    first.shutdown(Shutdown::Write)?;
    let results = segment.flush()?;

    let mut answer = String::new();
    first_peer.read_to_string(&mut answer)?;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let mut pong = [0; 7];
    second_peer.read_exact(&mut pong)?;
    assert_eq!(&pong, b"+PONG\r\n");

    println!("{} operations in the segment", results.len());
    for op in &results {
        let stream = if op.fd == first.as_raw_fd() { 1 } else { 2 };
        match &op.result {
            Ok(n) => println!("  {:?} on stream {stream}: {n}", op.kind),
            Err(e) => println!("  {:?} on stream {stream}: {e}", op.kind),
        }
    }
    Ok(())
}
