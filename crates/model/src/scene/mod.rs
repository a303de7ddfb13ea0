//! Scenes: a second family of random programs. A scene is a list of items, each
//! of which stands alone: what surrounds the program (limits, handlers, how its
//! sockets were made), a call by one of its many names, a wrong argument, a
//! child, an end. Any item may be taken out, so that a failure shrinks to the
//! items that it needs; those name its kind.

pub mod generate;
pub mod hunt;
pub mod kinds;
pub mod peer;
pub mod run;
pub mod stage;

use serde::{Deserialize, Serialize};

/// A scene.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scene {
    /// The policy that it is run under.
    pub policy: Policy,
    /// What it does, in this order; setting up comes first wherever it stands.
    pub items: Vec<Item>,
}

/// `ESCA_POLICY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// coalesce
    Coalesce,
    /// batch
    Batch,
    /// off
    Off,
}

impl Policy {
    /// Its name in the environment.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Policy::Coalesce => "coalesce",
            Policy::Batch => "batch",
            Policy::Off => "off",
        }
    }
}

/// One item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// Before the first wait.
    Before(Before),
    /// Bytes for the first client, or the second.
    Write {
        /// Which client.
        to: u8,
        /// By which call.
        how: How,
        /// So many bytes.
        n: u16,
    },
    /// An option of the first stream.
    Opt(Opt),
    /// Writes to the first client until the kernel takes no more.
    Fill,
    /// Waits for so many milliseconds.
    Rest(u16),
    /// Computes for so many milliseconds.
    Spin(u16),
    /// Waits for nothing: a new segment begins.
    Wake,
    /// A call whose arguments are wrong.
    Bad(Bad),
    /// A call with an effect that other processes see.
    Effect(Effect),
    /// The first stream gets a second number.
    Dup(Dup),
    /// The first stream is closed, and the next client accepted.
    Replace(By),
    /// Descriptors in bulk.
    Bulk(Bulk),
    /// A thread that holds the fork handlers' mutex for 50 ms.
    Holder {
        /// It writes to the second client meanwhile.
        writes: bool,
    },
    /// A child.
    Child(Child),
    /// Leaves some of what it shares with other threads or processes.
    Leave(Leave),
    /// A signal whose handler runs on a small stack of its own.
    Signal {
        /// Room beyond the kernel's frame.
        room: u16,
        /// What the handler does.
        act: Act,
    },
    /// A blocking write on the first stream is ended early.
    Blocking(Limit),
    /// Learns that its client has sent more, and reads.
    News(News),
    /// How it ends. The last one holds.
    End(End),
}

/// Before the first wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Before {
    /// Small buffers, and a first client that reads nothing until the end, or
    /// for 2.5 s.
    Stalled,
    /// The listener is corked.
    Corked,
    /// 1024 descriptors at most.
    FewNumbers,
    /// Fork handlers that take a mutex.
    Atfork,
    /// The first client's stream has a `FILE`.
    Fdopen,
    /// Standard output is line-buffered on no descriptor: 0, 1 and 2 are
    /// clients, and memory is short.
    NoStdio,
    /// The first wait stands in a handler that interrupts malloc.
    InHandler,
    /// The process is the first of a PID namespace.
    Pid1,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the name of a call")]
pub enum How {
    Write,
    UnderWrite,
    Writev,
    Pwritev2,
    Send,
    SendMore,
    Sendto,
    Sendmsg,
    Sendmmsg,
    SendmmsgMore,
    Splice,
    SpliceMore,
    Dprintf,
    VdprintfChk,
    Stdio,
    Dlsym,
    Dlmopen,
    Deepbind,
    NumWrite,
    NumWritev,
    NumPwritev2,
    NumSendto,
    NumSendmsg,
    Second,
}

/// Options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opt {
    /// TCP_CORK with this value.
    Cork(i8),
    /// TCP_NODELAY with this value.
    Nodelay(i8),
}

/// Wrong arguments, or such that the kernel answers in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the call, and its wrong argument")]
pub enum Bad {
    SetsockoptValue,
    SetsockoptLength,
    GetsockoptValue,
    GetsockoptLength,
    ReadvPointer,
    ReadvHuge,
    ReadvNegative,
    WritevPointer,
    WritevHuge,
    WritevNegative,
    WritevBase,
    SendmsgPointer,
    SendmsgIov,
    SendmsgControl,
    SendmmsgPointer,
    SendmmsgIov,
    RecvmsgPointer,
    SendfileOffset,
    SpliceOffset,
    EpollEvents,
    PollPointer,
    SelectPointer,
    AcceptLength,
    PipePointer,
    SocketpairPointer,
    Shutdown7,
    ConnectUnspec,
    FastOpenConnect,
    FcntlLock,
    IoctlPointer,
    NanosleepPointer,
    PpollMask,
    OpenPointer,
}

/// Calls with an effect elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the name of a call")]
pub enum Effect {
    WritePipe,
    EventfdWrite,
    FopenW,
    Mkstemp,
    ShmOpen,
    SemOpen,
    Mknod,
    Mkfifoat,
    BindPath,
    Listen,
    Tgkill,
    Setxattr,
    MqSend,
    Semtimedop,
    Kill,
    Rename,
    Preadv2Pipe,
    RwlockTimed,
    Unlink,
    Mkdir,
    Symlink,
    Ftruncate,
}

/// How a second number is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the name of a call")]
pub enum Dup {
    Dup,
    Dup2,
    Fcntl,
    NumDup2,
    NumFcntl,
}

/// By which way a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// libc's function.
    Libc,
    /// syscall(2).
    Number,
    /// The instruction.
    Asm,
}

/// Descriptors in bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bulk {
    /// All from 3 to 65535 that are not in use are closed.
    CloseUnused,
    /// The same by the instruction.
    CloseUnusedAsm,
    /// A pipe is put at the highest numbers below the limit, or below 1024.
    DupHigh,
    /// The pipe is looked at: nobody else may have written to it.
    PipeEmpty,
    /// A forked child has all the numbers of the pipe.
    ChildHasAll,
}

/// A child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the name of a call")]
pub enum Child {
    Fork,
    UnderFork,
    NumFork,
    NumClone,
    Vfork,
    CloneVm,
    System,
    Popen,
    Spawn,
    Daemon,
    /// F_SETLK, which another process would see.
    Lock,
    /// A raw clone that serves the next client, who stalls.
    Worker,
}

/// What is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the name of a flag")]
pub enum Leave {
    Files,
    NewUser,
    NewPid,
    Mount,
    Sighand,
    CloseRange,
    NumCloseRange,
}

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Writes twice.
    Write,
    /// Waits.
    Select,
    /// Forks.
    Fork,
    /// Ends the process.
    Exit,
    /// Closes the first stream.
    Close,
    /// Writes a kernel's message with sendmsg.
    Sendmsg,
}

/// What ends a blocking write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// SO_SNDTIMEO.
    Timeout,
    /// A signal.
    Signal,
}

/// How news reaches the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// It reads another stream again and again.
    Spin,
    /// SIGIO.
    Sigio,
    /// Another thread's wait, which hands the stream over.
    Worker,
    /// A byte in a pipe, read without a wait.
    Pipe,
}

/// How a scene ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the name of a call")]
pub enum End {
    Return,
    Quick,
    RawExit,
    Abort,
    PthreadExit,
    /// pthread_exit of the main thread, then SIGTERM.
    Term,
    Kill,
    Execve,
    Execveat,
    Fexecve,
    NumExecveat,
    Assert,
}

impl Scene {
    /// As text: a line of JSON for the policy and for each item.
    #[must_use]
    pub fn to_text(&self) -> String {
        let line = |v: serde_json::Result<String>| v.expect("plain values") + "\n";
        let items = self.items.iter().map(|i| line(serde_json::to_string(i)));
        line(serde_json::to_string(&self.policy)) + &items.collect::<String>()
    }

    /// The scene of a text; lines that begin with # are comments.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn from_text(text: &str) -> Result<Scene, String> {
        let mut lines = text.lines().filter(|l| !l.starts_with('#'));
        let say = |e: serde_json::Error| e.to_string();
        let policy = serde_json::from_str(lines.next().unwrap_or("")).map_err(say)?;
        let items = lines.map(serde_json::from_str).collect::<Result<_, _>>();
        Ok(Scene {
            policy,
            items: items.map_err(say)?,
        })
    }

    /// Whether this stands before its first wait.
    #[must_use]
    pub fn before(&self, what: Before) -> bool {
        self.items.contains(&Item::Before(what))
    }
}

/// The byte at a place of what a client gets.
#[must_use]
pub fn letter(client: usize, at: u64) -> u8 {
    let z = (at ^ (client as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    b'a' + ((z >> 33) % 26) as u8
}
