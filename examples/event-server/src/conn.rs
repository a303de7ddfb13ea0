//! One connection: reads until the kernel has no more, answers in order, and
//! holds back while the peer doesn't read.

use crate::files::{Entry, Files};
use crate::{http, sys};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// What one recv asks for, and about what a connection may have unanswered.
const ROOM: usize = 4096;

/// What is to become of a connection after an event.
#[derive(PartialEq, Eq)]
pub enum Next {
    /// It waits for its next event.
    Wait,
    /// It is at its end.
    Close,
}

/// An answer that is being sent.
struct Answer {
    entry: Arc<Entry>,
    /// Bytes of the piece in memory: all of it, or the head alone for HEAD.
    memory: usize,
    sent: usize,
    /// The part of the file that is still to be sent.
    offset: i64,
    end: i64,
}

/// A connection's state.
pub struct Conn {
    fd: i32,
    inbox: Vec<u8>,
    answer: Option<Answer>,
    /// No more requests: the peer has said its last, or the answer says so.
    last: bool,
    /// The kernel may have more to read (edge-triggered: until EAGAIN).
    readable: bool,
}

impl Conn {
    /// A new connection.
    pub fn new(fd: i32) -> Conn {
        sys::nodelay(fd);
        Conn {
            fd,
            inbox: Vec::with_capacity(ROOM),
            answer: None,
            last: false,
            readable: false,
        }
    }

    /// Handles an event.
    pub fn ready(&mut self, bits: u32, files: &Files) -> Next {
        if bits & (libc::EPOLLERR | libc::EPOLLHUP).cast_unsigned() != 0 {
            return Next::Close;
        }
        if bits & (libc::EPOLLIN | libc::EPOLLRDHUP).cast_unsigned() != 0 {
            self.readable = true;
        }
        self.advance(files).unwrap_or(Next::Close)
    }

    /// Answers and reads in turn until the kernel stops one of the two.
    fn advance(&mut self, files: &Files) -> io::Result<Next> {
        loop {
            if !self.send()? {
                return Ok(Next::Wait);
            }
            if self.take(files) {
                continue;
            }
            if self.last {
                return Ok(Next::Close);
            }
            if !self.readable {
                return Ok(Next::Wait);
            }
            self.recv()?;
        }
    }

    /// One recv.
    fn recv(&mut self) -> io::Result<()> {
        let mut buf = [0; ROOM];
        match sys::recv(self.fd, &mut buf)? {
            Some(0) => self.last = true,
            Some(n) => self.inbox.extend_from_slice(&buf[..n]),
            None => self.readable = false,
        }
        Ok(())
    }

    /// Takes the next request from the inbox; false when there is none.
    fn take(&mut self, files: &Files) -> bool {
        let Some(request) = http::parse(&self.inbox) else {
            self.last |= self.inbox.len() > 4 * ROOM;
            return false;
        };
        let entry = match request.method {
            b"GET" | b"HEAD" => files.get(request.path),
            _ => {
                self.last = true;
                let head = http::head(405, 0);
                let len = head.len();
                Arc::new(Entry::Small(head, len))
            }
        };
        let bodyless = request.method == b"HEAD";
        let (memory, end) = match &*entry {
            Entry::Small(_, head) if bodyless => (*head, 0),
            Entry::Small(all, _) => (all.len(), 0),
            Entry::Large(head, _, len) => (head.len(), if bodyless { 0 } else { *len }),
        };
        let (len, keep_alive) = (request.len, request.keep_alive);
        self.inbox.drain(..len);
        if !keep_alive {
            self.last = true;
            self.inbox.clear();
        }
        self.answer = Some(Answer {
            entry,
            memory,
            sent: 0,
            offset: 0,
            end: end.cast_signed(),
        });
        true
    }

    /// Sends on; false when the kernel takes no more for now.
    fn send(&mut self) -> io::Result<bool> {
        let Some(a) = &mut self.answer else {
            return Ok(true);
        };
        let (Entry::Small(memory, _) | Entry::Large(memory, ..)) = &*a.entry;
        while a.sent < a.memory {
            match sys::send(self.fd, &memory[a.sent..a.memory], a.end > 0)? {
                Some(n) => a.sent += n,
                None => return Ok(false),
            }
        }
        if let Entry::Large(_, file, _) = &*a.entry {
            while a.offset < a.end {
                let left = (a.end - a.offset) as usize;
                match sys::sendfile(self.fd, file.as_raw_fd(), &mut a.offset, left)? {
                    Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Some(_) => {}
                    None => return Ok(false),
                }
            }
        }
        self.answer = None;
        Ok(true)
    }
}
