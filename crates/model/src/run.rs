//! Runs a program once: the actor in a process of its own, the peers here.

use crate::board::{Board, Entry};
use crate::peer::{Player, Seen};
use crate::program::{CONNECTIONS, Program};
use anyhow::{Context, Result, bail};
use esca_abi::stats::{Counter, Table};
use esca_suite::dir::Dir;
use esca_suite::mode::library;
use esca_suite::shared::Shared;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How the program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On the plain kernel.
    Plain,
    /// Under the preload library: policy and backend.
    Esca(&'static str, &'static str),
}

/// Every policy with every backend that works on this machine.
/// `ESCA_SUITE=plain` gives the plain kernel in their place: that shows
/// whether the model itself always comes out the same.
#[must_use]
pub fn modes() -> Vec<Mode> {
    if std::env::var_os("ESCA_SUITE").is_some_and(|s| s == "plain") {
        return vec![Mode::Plain];
    }
    let mut modes = vec![
        Mode::Esca("coalesce", "direct"),
        Mode::Esca("batch", "direct"),
    ];
    if Path::new("/dev/esca").exists() {
        modes.push(Mode::Esca("coalesce", "kmod"));
        modes.push(Mode::Esca("batch", "kmod"));
    }
    modes
}

/// What was seen of one run.
#[derive(Debug)]
pub struct Outcome {
    /// Every call and every step.
    pub entries: Vec<Entry>,
    /// What the peers saw, by connection.
    pub peers: Vec<Option<Seen>>,
    /// How the actor ended.
    pub status: ExitStatus,
    /// What it said on standard error.
    pub said: String,
    /// It had to be killed.
    pub killed: bool,
}

/// Runs programs, one at a time.
pub struct Runner {
    actor: PathBuf,
    dir: Dir,
    board: Shared<Board>,
    stats: Shared<Table>,
    /// How long an event may take before it counts as lost.
    pub patience: Duration,
}

impl Runner {
    /// A runner of this actor.
    #[must_use]
    pub fn new(actor: &Path) -> Runner {
        let dir = Dir::new();
        let board = Shared::create(&dir.path().join("board"));
        let stats = Shared::<Table>::create(&dir.path().join("stats"));
        stats.init();
        Runner {
            actor: actor.to_owned(),
            dir,
            board,
            stats,
            patience: Duration::from_secs(20),
        }
    }

    /// A counter of the library, over all runs.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.stats.total(counter)
    }

    /// Runs `program` once.
    ///
    /// # Errors
    /// Where the run itself could not be made.
    pub fn run(&self, program: &Program, mode: Mode) -> Result<Outcome> {
        let file = self.dir.path().join("program");
        let said = self.dir.path().join("stderr");
        std::fs::write(&file, program.to_text()).context("the program's file")?;
        self.board.clear();
        let mut command = Command::new(&self.actor);
        command
            .arg(&file)
            .arg(self.board.path())
            .arg(self.patience.as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?);
        self.set_up(&mut command, mode);
        let mut child = command
            .spawn()
            .with_context(|| format!("{}: cannot be started", self.actor.display()))?;
        if let Err(e) = self.listening(&mut child) {
            let _ = child.kill();
            let _ = child.wait();
            let said = std::fs::read_to_string(said).unwrap_or_default();
            return Err(e.context(said));
        }
        let end = Instant::now() + self.patience * 3;
        let (peers, status, killed) = self.play(program, &mut child, end)?;
        Ok(Outcome {
            entries: self.board.entries(),
            peers,
            status,
            said: std::fs::read_to_string(said).unwrap_or_default(),
            killed,
        })
    }

    fn set_up(&self, command: &mut Command, mode: Mode) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ESCA_") || name == "LD_PRELOAD" {
                command.env_remove(name);
            }
        }
        if let Mode::Esca(policy, backend) = mode {
            command
                .env("LD_PRELOAD", library())
                .env("ESCA_POLICY", policy)
                .env("ESCA_BACKEND", backend)
                .env("ESCA_STATS_SHM", self.stats.path());
        }
    }

    fn listening(&self, child: &mut Child) -> Result<()> {
        let end = Instant::now() + self.patience;
        while self.board.ready.load(SeqCst) == 0 {
            if let Some(status) = child.try_wait()? {
                bail!("the actor ended before it began: {status}");
            }
            if Instant::now() > end {
                bail!("the actor does not begin");
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    /// Connects all peers, then lets them and the actor go.
    fn play(
        &self,
        program: &Program,
        child: &mut Child,
        end: Instant,
    ) -> Result<(Vec<Option<Seen>>, ExitStatus, bool)> {
        let mut connected = Vec::new();
        for connection in 0..CONNECTIONS {
            let Some(peer) = program.peer(connection) else {
                continue;
            };
            let player = Player {
                peer,
                connection,
                seed: program.seed,
                board: &self.board,
                until: end,
            };
            let listener = &self.board.listening[connection / crate::program::GENERATIONS];
            let stream = player.connect(listener.load(SeqCst) as u16)?;
            let port = stream.local_addr()?.port();
            self.board.peers[connection].store(port.into(), SeqCst);
            connected.push((player, stream));
        }
        std::thread::scope(|scope| {
            let playing: Vec<_> = connected
                .into_iter()
                .map(|(player, stream)| {
                    (player.connection, scope.spawn(move || player.play(stream)))
                })
                .collect();
            self.board.ready.store(2, SeqCst);
            let (status, killed) = wait(child, end)?;
            self.board.gone.store(1, SeqCst);
            let mut peers: Vec<_> = (0..CONNECTIONS).map(|_| None).collect();
            for (connection, player) in playing {
                peers[connection] = player.join().ok();
            }
            Ok((peers, status, killed))
        })
    }
}

fn wait(child: &mut Child, end: Instant) -> Result<(ExitStatus, bool)> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, false));
        }
        if Instant::now() > end {
            child.kill()?;
            return Ok((child.wait()?, true));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}
