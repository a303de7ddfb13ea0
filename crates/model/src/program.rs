//! A program: what the actor does, call by call, and how its peers behave.
//! It is kept as one line of JSON for each part, so that a failure can be
//! read, edited and replayed.

use serde::{Deserialize, Serialize};

/// Streams of a program at most.
pub const STREAMS: usize = 4;
/// Connections of one stream at most: the first and its successors.
pub const GENERATIONS: usize = 3;
/// Connections of a program at most.
pub const CONNECTIONS: usize = STREAMS * GENERATIONS;
/// Marks in each byte of a stream who wrote it: two threads, two children.
pub const WRITERS: usize = 4;
/// Threads of a program at most.
pub const THREADS: usize = 2;

/// A program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The bytes of its streams follow from it.
    pub seed: u64,
    /// Each is watched, written and read by its own means.
    pub streams: Vec<Stream>,
    /// What the threads do; all meet at the end of each round.
    pub rounds: Vec<Round>,
    /// How the process ends.
    pub end: End,
    /// Input that has come is left unread at the end.
    pub leave_input: bool,
}

/// What each thread does, beginning with the main one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round(pub Vec<Vec<Op>>);

/// A place for connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Who uses it.
    pub owner: Owner,
    /// How its owner waits for it.
    pub waits: Waits,
    /// Non-blocking by accept4, or by a call after a plain accept.
    pub accept4: bool,
    /// The peers of its first and of its later connections.
    pub peers: Vec<Peer>,
}

/// Who uses a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// One thread alone; it may do anything.
    Thread(u8),
    /// All threads write; it stays open.
    Shared,
}

/// How readiness is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waits {
    /// epoll, level-triggered.
    Level,
    /// epoll, edge-triggered, with EPOLLRDHUP.
    Edge,
    /// epoll, edge-triggered, without it.
    PlainEdge,
    /// poll(2).
    Poll,
    /// select(2).
    Select,
}

/// The other side of a connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// A small receive buffer.
    pub rcvbuf: Option<u32>,
    /// What it does, in this order; then it reads to the end.
    pub steps: Vec<Step>,
}

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Sends so many bytes.
    Send(u32),
    /// Reads until so many more have come.
    Read(u32),
    /// Reads so many, in pieces with a rest between.
    Slow(u32),
    /// Does nothing until the actor has made so many steps, or needs it.
    Await(u32),
    /// Sends no more.
    HalfClose,
    /// Reads nothing more until the actor's process is gone. The last step.
    Stop,
    /// Resets the connection. The last step.
    Reset,
    /// Closes it, with input unread perhaps. The last step.
    Close,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// write(2).
    Write,
    /// writev(2) of three pieces.
    Writev,
    /// send(2) without flags.
    Send,
    /// send(2) with MSG_MORE.
    More,
    /// send(2) with MSG_NOSIGNAL and MSG_DONTWAIT.
    Quiet,
    /// sendmsg(2).
    Sendmsg,
    /// sendmsg(2) with control data.
    Control,
    /// sendmmsg(2) of two messages.
    Sendmmsg,
    /// sendfile(2) at an offset, of a file that holds more.
    File,
    /// sendfile(2) from where the file stands.
    FileHere,
    /// sendfile(2) that asks for more than the file holds.
    ShortFile,
    /// sendfile(2) from a pipe, which the kernel refuses.
    PipeFile,
    /// splice(2) from a pipe.
    Splice,
    /// write(2) by syscall(2).
    Number,
}

/// How bytes are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Take {
    /// read(2).
    Read,
    /// recv(2) with MSG_DONTWAIT.
    Recv,
    /// readv(2) of two pieces.
    Readv,
    /// recvmsg(2).
    Recvmsg,
    /// recv(2) with MSG_PEEK.
    Peek,
}

/// A socket option to set or get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opt {
    /// TCP_CORK.
    Cork(bool),
    /// Whether TCP_CORK is on.
    IsCorked,
    /// TCP_NODELAY.
    Nodelay(bool),
    /// SO_SNDBUF.
    Sndbuf(u32),
    /// TCP_NOTSENT_LOWAT.
    Lowat(u32),
    /// SO_LINGER: off, or so many seconds.
    Linger(Option<u8>),
    /// SO_ERROR.
    Error,
    /// O_NONBLOCK, by fcntl.
    Nonblock(bool),
    /// O_NONBLOCK, by FIONBIO.
    Fionbio(bool),
}

/// How a descriptor is duplicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dup {
    /// dup(2).
    Dup,
    /// fcntl(2), F_DUPFD from 40.
    Fcntl,
    /// dup2(2) onto a free number.
    Dup2,
    /// dup3(2) onto a free number.
    Dup3,
    /// dup2(2) onto the newest number of another stream of the same thread.
    Over(u8),
    /// dup3(2) onto that number, with flags that the kernel refuses.
    Refused(u8),
}

/// A shutdown's direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// SHUT_RD.
    Read,
    /// SHUT_WR.
    Write,
    /// SHUT_RDWR.
    Both,
}

/// One step of a thread. `s` is a stream, `a` chooses among its descriptors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// One call that writes.
    #[allow(missing_docs)]
    Write { s: u8, a: u8, n: u32, how: How },
    /// Writes all, waiting for room where there is none.
    #[allow(missing_docs)]
    WriteAll { s: u8, a: u8, n: u32, how: How },
    /// One call that reads.
    #[allow(missing_docs)]
    Read { s: u8, a: u8, n: u32, take: Take },
    /// Reads pieces of `n` until there is no more.
    #[allow(missing_docs)]
    ReadAll { s: u8, n: u32, take: Take },
    /// Waits for all that the peer sends, as the stream's events come, and
    /// reads it in pieces of `n`.
    #[allow(missing_docs)]
    Input { s: u8, n: u32, take: Take },
    /// A wait of no time for all streams of the thread: a segment ends.
    Wait(Waits),
    /// shutdown(2).
    #[allow(missing_docs)]
    Shutdown { s: u8, a: u8, way: Way },
    /// Closes one descriptor of the stream, or all. Before the last one is
    /// closed the input is read, unless it is to be left.
    #[allow(missing_docs)]
    Close { s: u8, all: bool, leave: bool },
    /// Accepts the stream's next connection, if it has none now.
    #[allow(missing_docs)]
    Open { s: u8 },
    /// Duplicates one of its descriptors.
    #[allow(missing_docs)]
    Dup { s: u8, a: u8, dup: Dup },
    /// Sets or gets an option.
    #[allow(missing_docs)]
    Opt { s: u8, a: u8, opt: Opt },
    /// Opens and closes a file: which number is free?
    File,
    /// Computes, without a call, for so many microseconds.
    Compute(u32),
    /// A child process does these and ends; the parent waits for it now, or
    /// at the end.
    #[allow(missing_docs)]
    Fork { ops: Vec<Op>, wait: bool },
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// main returns.
    Return,
    /// exit(3) from deep inside.
    Exit,
    /// _exit(2).
    Quick,
    /// exec of a program that does nothing.
    Exec,
    /// abort(3).
    Abort,
}

impl Program {
    /// The number of connection `generation` of stream `s`.
    #[must_use]
    pub fn connection(&self, s: usize, generation: usize) -> usize {
        s * GENERATIONS + generation
    }

    /// The peer of a connection.
    #[must_use]
    pub fn peer(&self, connection: usize) -> Option<&Peer> {
        let stream = self.streams.get(connection / GENERATIONS)?;
        stream.peers.get(connection % GENERATIONS)
    }

    /// How many threads it has.
    #[must_use]
    pub fn threads(&self) -> usize {
        let most = self.rounds.iter().map(|r| r.0.len()).max();
        most.unwrap_or(1).clamp(1, THREADS)
    }

    /// As lines of JSON: the streams, the rounds, the rest.
    #[must_use]
    pub fn to_text(&self) -> String {
        let head = Program {
            streams: Vec::new(),
            rounds: Vec::new(),
            ..self.clone()
        };
        let mut text = line(&head);
        self.streams.iter().for_each(|s| text += &line(s));
        for round in &self.rounds {
            text += "round\n";
            for thread in &round.0 {
                text += "thread\n";
                thread.iter().for_each(|op| text += &line(op));
            }
        }
        text
    }

    /// Reads what [`Program::to_text`] wrote; empty lines and lines that
    /// begin with `#` are passed over.
    ///
    /// # Errors
    /// A line that cannot be read.
    pub fn from_text(text: &str) -> Result<Program, String> {
        let mut program: Option<Program> = None;
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |e: serde_json::Error| format!("line {}: {e}: {line}", number + 1);
            let Some(p) = &mut program else {
                program = Some(serde_json::from_str(line).map_err(bad)?);
                continue;
            };
            match (line, p.rounds.last_mut()) {
                ("round", _) => p.rounds.push(Round::default()),
                ("thread", Some(round)) => round.0.push(Vec::new()),
                (_, None) => p.streams.push(serde_json::from_str(line).map_err(bad)?),
                (_, Some(round)) => match round.0.last_mut() {
                    Some(ops) => ops.push(serde_json::from_str(line).map_err(bad)?),
                    None => return Err(format!("line {}: an operation of no thread", number + 1)),
                },
            }
        }
        program.ok_or_else(|| "no program".into())
    }
}

impl Peer {
    /// Bytes it sends, if nothing keeps it from it.
    #[must_use]
    pub fn sends(&self) -> u64 {
        let sent = |s: &Step| {
            if let Step::Send(n) = s {
                u64::from(*n)
            } else {
                0
            }
        };
        self.steps.iter().map(sent).sum()
    }

    /// Whether it breaks the connection before the actor does.
    #[must_use]
    pub fn breaks(&self) -> bool {
        let breaks = |s: &Step| matches!(s, Step::Reset | Step::Close);
        self.steps.iter().any(breaks)
    }

    /// Whether it stops reading for good.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.steps.contains(&Step::Stop)
    }

    /// Whether it ends its side of the stream by itself.
    #[must_use]
    pub fn half_closes(&self) -> bool {
        self.steps.contains(&Step::HalfClose)
    }
}

fn line(part: &impl Serialize) -> String {
    serde_json::to_string(part).unwrap_or_default() + "\n"
}
