//! A small Redis client.

use crate::http::dial;
use std::io::{BufRead, BufReader, Read, Write};
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
        self.stream.get_mut().write_all(bytes).expect("sent");
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
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a reply");
        let line = line.strip_suffix("\r\n").expect("a whole line");
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().expect("a number");
        match kind {
            "+" => Value::Simple(rest.into()),
            "-" => Value::Error(rest.into()),
            ":" => Value::Int(number()),
            "$" => Value::Bulk(usize::try_from(number()).ok().map(|n| {
                let mut bytes = vec![0; n + 2];
                self.stream.read_exact(&mut bytes).expect("a string");
                assert_eq!(bytes.split_off(n), b"\r\n");
                bytes
            })),
            "*" => Value::Array((0..number()).map(|_| self.reply()).collect()),
            _ => panic!("not RESP: {line}"),
        }
    }
}
