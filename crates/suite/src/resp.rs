//! A small Redis client.

use crate::http::dial;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A reply of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A simple string.
    Simple(String),
    /// An error.
    Error(String),
    /// A number.
    Int(i64),
    /// A string, or none.
    Bulk(Option<Vec<u8>>),
    /// Several.
    Array(Vec<Value>),
}

/// A connection.
pub struct Resp {
    stream: BufReader<TcpStream>,
}

/// A command's bytes.
#[must_use]
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut all = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        all.extend(format!("${}\r\n", word.len()).bytes());
        all.extend(*word);
        all.extend(b"\r\n");
    }
    all
}

impl Resp {
    /// Connects.
    #[must_use]
    pub fn new(port: u16) -> Resp {
        Resp {
            stream: BufReader::new(dial(port, None)),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("sent");
    }

    /// The same, to a server that may be gone.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// One command and its reply.
    pub fn ask(&mut self, words: &[&[u8]]) -> Value {
        self.send(&command(words));
        self.reply()
    }

    /// The same, of words without odd bytes.
    pub fn say(&mut self, words: &str) -> Value {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        self.ask(&words)
    }

    /// Reads a reply.
    pub fn reply(&mut self) -> Value {
        self.try_reply().expect("a reply")
    }

    /// The same, of a server that may be gone.
    ///
    /// # Errors
    /// Those of the connection, and its end.
    pub fn try_reply(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let Some(line) = line.strip_suffix("\r\n") else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().expect("a number");
        Ok(match kind {
            "+" => Value::Simple(rest.into()),
            "-" => Value::Error(rest.into()),
            ":" => Value::Int(number()),
            "$" => Value::Bulk(match usize::try_from(number()) {
                Err(_) => None,
                Ok(n) => {
                    let mut bytes = vec![0; n + 2];
                    self.stream.read_exact(&mut bytes)?;
                    assert_eq!(bytes.split_off(n), b"\r\n");
                    Some(bytes)
                }
            }),
            "*" => {
                let parts = (0..number()).map(|_| self.try_reply());
                Value::Array(parts.collect::<io::Result<_>>()?)
            }
            _ => panic!("not RESP: {line}"),
        })
    }
}
