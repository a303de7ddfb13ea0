//! Runs a scenario of the actor: against the plain kernel, then under each
//! policy, with the same peer; what was seen on both sides must be the same.

use crate::board::{Board, Flag};
use crate::dir::Dir;
use crate::eventually;
use crate::http::dial;
use crate::mode::{Mode, Stats, policies};
use crate::server::Server;
use crate::shared::Shared;
use crate::socket_memory::Shortage;
use esca_abi::stats::Counter;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::process::Command;

/// Rounds by which each connection begins: a byte, answered in two writes.
/// They teach the library that merging pays on such streams.
pub const WARM_UP: usize = 8;
/// The answer of such a round.
pub const WARM_ANSWER: [&[u8]; 2] = [b"he", b"ad"];

/// Streams of the interleaved scenarios, and the bytes of each.
pub const STREAMS: usize = 5;
/// See [`STREAMS`].
pub const STREAM_BYTES: usize = 600_000;

/// What the scenario `late` sends by one call: more than two socket buffers
/// take.
pub const LATE_BYTES: usize = 32 << 20;

/// One scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    program: &'static str,
    name: &'static str,
    needs: Option<Counter>,
    fills: bool,
    ends: Ends,
}

/// Socket memory of a group in which flushes are short: less than the buffers
/// that the scenarios fill have room for.
const SHORTAGE: usize = 100_000;

/// How the program is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Exit(i32),
    Signal(i32),
}

/// A run, as its peer sees it.
pub struct Run<'a> {
    /// What is shared with the actor.
    pub board: &'a Board,
    /// The statistics, under ESCA.
    pub stats: Option<&'a Stats>,
    port: u16,
    seen: Vec<String>,
}

impl Scenario {
    /// A scenario of the actor, given by its path.
    #[must_use]
    pub fn new(actor: &'static str, name: &'static str) -> Scenario {
        Scenario {
            program: actor,
            name,
            needs: None,
            fills: false,
            ends: Ends::Exit(0),
        }
    }

    /// Under ESCA this counter must have risen.
    #[must_use]
    pub fn needs(self, counter: Counter) -> Scenario {
        let needs = Some(counter);
        Scenario { needs, ..self }
    }

    /// The actor fills a socket's buffer. Under ESCA it must find the end of
    /// it where the plain program does, so that nothing promised is left over;
    /// and once more where the machine is short of socket memory, so that the
    /// kernel takes less than there is room for, and something is.
    #[must_use]
    pub fn fills(self) -> Scenario {
        Scenario {
            fills: true,
            ..self
        }
    }

    /// The actor ends by a signal.
    #[must_use]
    pub fn dies(self, signal: i32) -> Scenario {
        let ends = Ends::Signal(signal);
        Scenario { ends, ..self }
    }

    /// The actor ends with a status.
    #[must_use]
    pub fn exits(self, status: i32) -> Scenario {
        let ends = Ends::Exit(status);
        Scenario { ends, ..self }
    }

    /// Runs it with this peer.
    pub fn run(self, peer: impl Fn(&mut Run)) {
        self.compare(&policies(), &peer);
    }

    /// The same, also in the policies that aggregate nothing.
    pub fn run_in_every_policy(self, peer: impl Fn(&mut Run)) {
        let idle = [Mode::Esca("off"), Mode::Esca("watch")];
        self.compare(&[&idle[..], &policies()].concat(), &peer);
    }

    fn compare(self, modes: &[Mode], peer: &impl Fn(&mut Run)) {
        let plain = self.once(Mode::Plain, None, peer);
        let same = |mode, shortage| {
            let seen = self.once(mode, shortage, peer);
            assert!(
                plain == seen,
                "{} {mode:?}: not as without ESCA\n{}",
                self.name,
                difference(&plain, &seen)
            );
        };
        for &mode in modes {
            same(mode, None);
        }
        if self.fills {
            let Some(shortage) = Shortage::of(SHORTAGE) else {
                eprintln!("no control groups for socket memory: not run short of it");
                return;
            };
            for &mode in modes {
                same(mode, Some(&shortage));
            }
        }
    }

    fn once(self, mode: Mode, shortage: Option<&Shortage>, peer: &impl Fn(&mut Run)) -> String {
        let dir = Dir::new();
        let board = Shared::<Board>::create(&dir.path().join("board"));
        let mut command = under(self.program);
        command.arg(self.name).arg(board.path()).arg(dir.path());
        if let Some(shortage) = shortage {
            command = shortage.start(&command);
        }
        let mut actor = Guard {
            what: format!("{} {mode:?}", self.name),
            server: Server::spawn(mode, &mut command),
            board: &board,
        };
        let port = eventually("the actor's port", || {
            u16::try_from(board.get(Flag::Port)).ok().filter(|&p| p > 0)
        });
        let mut run = Run {
            board: &board,
            stats: actor.stats.as_ref(),
            port,
            seen: Vec::new(),
        };
        peer(&mut run);
        let seen = run.seen.join("\n");
        let status = actor.wait().expect("the actor's end");
        let text = board.text();
        assert!(!text.contains("FAIL"), "the actor found a fault");
        use std::os::unix::process::ExitStatusExt;
        let ended = match self.ends {
            Ends::Exit(n) => status.code() == Some(n),
            Ends::Signal(n) => status.signal() == Some(n),
        };
        assert!(ended, "the actor ended: {status}");
        if let Some(stats) = &actor.stats
            && policies().contains(&mode)
        {
            stats.assert_aggregated();
            if let Some(counter) = self.needs {
                assert!(stats.get(counter) > 0, "{counter:?} has not risen");
            }
            if self.fills {
                let short = stats.get(Counter::Short);
                assert_eq!(short > 0, shortage.is_some(), "{short} short flushes");
            }
        }
        format!("{text}--- peer\n{seen}\n")
    }
}

/// Two transcripts; of long ones, what stands around each line that differs.
fn difference(plain: &str, seen: &str) -> String {
    const SHORT: usize = 200;
    if plain.lines().count() < SHORT {
        return format!("--- without\n{plain}\n--- under ESCA\n{seen}");
    }
    let mut before = "";
    let mut all = String::new();
    for (one, other) in plain.lines().zip(seen.lines()) {
        if one != other {
            all += &format!("{before}\n  without    {one}\n  under ESCA {other}\n");
        }
        before = one;
    }
    all
}

/// A command that runs `program`: under another one (valgrind) where
/// `ESCA_UNDER` has that one's name and options.
fn under(program: &str) -> Command {
    let words = std::env::var("ESCA_UNDER").unwrap_or_default();
    let mut words = words.split_whitespace().chain([program]);
    let mut command = Command::new(words.next().unwrap_or(program));
    command.args(words);
    command
}

/// The actor's process; on failure it says what is known.
struct Guard<'a> {
    what: String,
    server: Server,
    board: &'a Board,
}

impl Deref for Guard<'_> {
    type Target = Server;
    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: transcript:\n{}", self.what, self.board.text());
        }
    }
}

impl Run<'_> {
    /// Notes what must be the same in every run.
    pub fn saw(&mut self, line: impl Into<String>) {
        self.seen.push(line.into());
    }

    /// Where the actor listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connects to the actor and goes through the warm-up.
    #[must_use]
    pub fn connect(&self) -> TcpStream {
        self.connect_with(None)
    }

    /// The same with a small receive buffer.
    #[must_use]
    pub fn connect_with(&self, rcvbuf: Option<usize>) -> TcpStream {
        let mut stream = dial(self.port, rcvbuf);
        for _ in 0..WARM_UP {
            self.go(&mut stream);
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).expect("a warm-up answer");
            assert_eq!(answer, *b"head");
        }
        stream
    }

    /// Gives the actor its next turn.
    pub fn go(&self, stream: &mut TcpStream) {
        stream.write_all(b"g").expect("a turn");
    }

    /// Waits until the actor has set a flag; its value.
    pub fn when(&self, flag: Flag) -> u64 {
        self.until(flag, 1)
    }

    /// Waits until a flag of the actor's has reached `least`; its value.
    pub fn until(&self, flag: Flag, least: u64) -> u64 {
        eventually("the actor's flag", || {
            Some(self.board.get(flag)).filter(|&n| n >= least)
        })
    }

    /// Lets the actor know.
    pub fn tell(&self) {
        self.board.add(Flag::Peer, 1);
    }
}

/// Reads exactly so many bytes.
#[must_use]
pub fn take(stream: &mut TcpStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).expect("so many bytes");
    bytes
}

/// Reads to the end; a reset is an end that shows.
#[must_use]
pub fn to_end(stream: &mut TcpStream) -> (Vec<u8>, &'static str) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => (bytes, "end"),
        Err(e) if e.kind() == ErrorKind::ConnectionReset => (bytes, "reset"),
        Err(e) => panic!("after {} bytes: {e}", bytes.len()),
    }
}
