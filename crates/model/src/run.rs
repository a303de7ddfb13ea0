//! Runs a program once: the actor in a process of its own, the peers here.

use crate::board::{Board, Entry};
use crate::hung;
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

/// How long an event may take before it counts as lost. A run that lasts three
/// times as long hangs.
const PATIENCE: Duration = Duration::from_secs(20);

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
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every call and every step.
    pub entries: Vec<Entry>,
    /// What the peers saw, by connection.
    pub peers: Vec<Option<Seen>>,
    /// How the actor ended.
    pub status: ExitStatus,
    /// What it said on standard error.
    pub said: String,
    /// It had to be killed: what its threads were waiting for.
    pub hung: Option<String>,
}

/// Runs programs, one at a time.
pub struct Runner {
    actor: PathBuf,
    dir: Dir,
    board: Shared<Board>,
    stats: Vec<(Mode, Shared<Table>)>,
    /// How long an event may take before it counts as lost.
    pub patience: Duration,
    /// Alters what was seen of a run under ESCA: tests of the checker.
    pub spoil: Option<fn(&mut Outcome)>,
}

impl Runner {
    /// A runner of this actor.
    #[must_use]
    pub fn new(actor: &Path) -> Runner {
        let dir = Dir::new();
        let board = Shared::create(&dir.path().join("board"));
        let stats = modes().into_iter().enumerate().map(|(k, mode)| {
            let table = Shared::<Table>::create(&dir.path().join(format!("stats-{k}")));
            table.init();
            (mode, table)
        });
        let stats = stats.collect();
        Runner {
            actor: actor.to_owned(),
            dir,
            board,
            stats,
            patience: PATIENCE,
            spoil: None,
        }
    }

    /// Counters of the library over all runs of each mode, added up.
    #[must_use]
    pub fn counts(&self, counters: &[Counter]) -> Vec<(Mode, u64)> {
        let sum = |t: &Shared<Table>| counters.iter().map(|c| t.total(*c)).sum();
        self.stats.iter().map(|(m, t)| (*m, sum(t))).collect()
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
        let (peers, status, hung) = self.play(program, &mut child, end)?;
        let mut outcome = Outcome {
            entries: self.board.entries(),
            peers,
            status,
            said: std::fs::read_to_string(said).unwrap_or_default(),
            hung,
        };
        if let (Mode::Esca(..), Some(spoil)) = (mode, self.spoil) {
            spoil(&mut outcome);
        }
        Ok(outcome)
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
                .env("ESCA_BACKEND", backend);
            if let Some((_, stats)) = self.stats.iter().find(|(m, _)| *m == mode) {
                command.env("ESCA_STATS_SHM", stats.path());
            }
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
    ) -> Result<(Vec<Option<Seen>>, ExitStatus, Option<String>)> {
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
            let (status, hung) = wait(child, end)?;
            self.board.gone.store(1, SeqCst);
            let mut peers: Vec<_> = (0..CONNECTIONS).map(|_| None).collect();
            for (connection, player) in playing {
                peers[connection] = player.join().ok();
            }
            Ok((peers, status, hung))
        })
    }
}

fn wait(child: &mut Child, end: Instant) -> Result<(ExitStatus, Option<String>)> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, None));
        }
        if Instant::now() > end {
            let waits_for = hung::end_family(child.id());
            return Ok((child.wait()?, Some(waits_for)));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}
