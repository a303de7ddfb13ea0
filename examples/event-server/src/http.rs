//! As much of HTTP/1.1 as a static server needs.

/// A request whose head has arrived.
pub struct Request<'a> {
    /// Bytes of the head, the empty line included.
    pub len: usize,
    /// `GET` or `HEAD`; anything else is answered with 405 and a close.
    pub method: &'a [u8],
    /// The path, without a query.
    pub path: &'a [u8],
    /// Whether the connection goes on after the answer.
    pub keep_alive: bool,
}

/// Takes one request from the front of `buf`; `None` while it is incomplete.
pub fn parse(buf: &[u8]) -> Option<Request<'_>> {
    let len = buf.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let mut lines = buf[..len].split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
    let mut words = lines.next().unwrap_or_default().split(|&b| b == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let path = target.split(|&b| b == b'?').next().unwrap_or_default();
    let mut keep_alive = words.next() == Some(b"HTTP/1.1");
    for line in lines {
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            continue;
        };
        if line[..colon].eq_ignore_ascii_case(b"connection") {
            let value = line[colon + 1..].trim_ascii();
            keep_alive = !value.eq_ignore_ascii_case(b"close")
                && (keep_alive || value.eq_ignore_ascii_case(b"keep-alive"));
        }
    }
    Some(Request {
        len,
        method,
        path,
        keep_alive,
    })
}

/// The head of an answer.
pub fn head(status: u16, length: u64) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        _ => "Method Not Allowed",
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nServer: event-server\r\n\
         Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}
