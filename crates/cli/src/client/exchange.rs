//! What a client sends, and what must come back.

use anyhow::{Context, Result, bail, ensure};

/// One request (or a pipeline of them) and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The bytes sent.
    pub ask: Vec<u8>,
    /// What the answer must be.
    pub answer: Answer,
    /// Requests in it: more than one in a pipeline.
    pub requests: u32,
    /// Sent once before the load, and what must come back.
    pub prepare: Option<(Vec<u8>, Vec<u8>)>,
}

/// What an answer must be.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Exactly these bytes.
    Exact(Vec<u8>),
    /// An HTTP response with status 200 and a length; with this body, if it is
    /// known.
    Http(Option<Vec<u8>>),
}

impl Exchange {
    /// A GET with keep-alive; `body` is what must come, if it is known.
    pub fn get(path: &str, body: Option<Vec<u8>>) -> Self {
        Exchange {
            ask: format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes(),
            answer: Answer::Http(body),
            requests: 1,
            prepare: None,
        }
    }

    /// `times` copies in one pipeline.
    pub fn pipelined(mut self, times: u32) -> Self {
        self.ask = self.ask.repeat(times as usize);
        if let Answer::Exact(a) = &mut self.answer {
            *a = a.repeat(times as usize);
        }
        self.requests *= times;
        self
    }
}

/// The head of an HTTP response: its length, and that of the body behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes up to and with the empty line.
    pub length: usize,
    /// What Content-Length says.
    pub body: usize,
}

/// Reads a response's head; none while it is not complete.
pub fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let mut lines = bytes[..end].split(|b| *b == b'\n');
    let status = lines.next().unwrap_or_default().trim_ascii();
    ensure!(
        status.starts_with(b"HTTP/1.") && status.get(9..12) == Some(b"200"),
        "the server answered '{}'",
        String::from_utf8_lossy(status)
    );
    for line in lines {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"content-length") {
            let text = std::str::from_utf8(&value[1..])?.trim();
            let body = text.parse().with_context(|| format!("length '{text}'"))?;
            return Ok(Some(Head {
                length: end + 4,
                body,
            }));
        }
        if name.eq_ignore_ascii_case(b"connection") && value.ends_with(b"close\r") {
            bail!("the server closes its connections; this client keeps them");
        }
    }
    bail!("a response without Content-Length; use --client with another load generator")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let text = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length:  12 \r\nX: y\r\n\r\nabc";
        let want = Head {
            length: text.len() - 3,
            body: 12,
        };
        assert_eq!(head(text).unwrap(), Some(want));
        for n in 0..want.length {
            assert_eq!(head(&text[..n]).unwrap(), None, "{n} bytes");
        }
    }

    #[test]
    fn heads_that_are_refused() {
        let not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\n";
        assert!(head(not_found).unwrap_err().to_string().contains("404"));
        for text in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
            "+OK\r\n\r\n",
        ] {
            assert!(head(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn pipelines() {
        let mut one = Exchange::get("/", None);
        one.ask = b"PING\r\n".to_vec();
        one.answer = Answer::Exact(b"+PONG\r\n".to_vec());
        let three = one.pipelined(3);
        assert_eq!(three.ask, b"PING\r\nPING\r\nPING\r\n");
        assert_eq!(three.requests, 3);
        assert!(matches!(three.answer, Answer::Exact(a) if a.len() == 21));
    }
}
