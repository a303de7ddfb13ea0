//! Runs a scene once, and says what was seen of it as facts: each has a name
//! and a value, and both runs of a scene must agree on all.

use super::peer::{self, Seen};
use super::stage::{CLIENTS, Stage, What};
use super::{Before, By, Item, Scene};
use crate::hung;
use crate::peer::Ended;
use anyhow::{Context, Result, bail};
use esca_suite::dir::Dir;
use esca_suite::mode::library;
use esca_suite::shared::Shared;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// What lasts longer hangs.
const LIMIT: Duration = Duration::from_secs(6);
/// An item that takes longer stalls.
const SLOW: i64 = 1_000_000_000;
/// Bytes that arrive later are late: the kernel holds bytes back for 200 ms.
const LATE: u64 = 120_000_000;

/// Names and values.
pub type Facts = BTreeMap<String, String>;

/// Runs scenes, one at a time.
pub struct Runner {
    actor: PathBuf,
    dir: Dir,
    stage: Shared<Stage>,
}

impl Runner {
    /// A runner of this actor.
    #[must_use]
    pub fn new(actor: &Path) -> Runner {
        let dir = Dir::new();
        let stage = Shared::create(&dir.path().join("stage"));
        Runner {
            actor: actor.to_owned(),
            dir,
            stage,
        }
    }

    /// Runs a scene on the plain kernel or under ESCA.
    ///
    /// # Errors
    /// Where the run could not be made.
    pub fn run(&self, scene: &Scene, esca: bool) -> Result<Facts> {
        let file = self.dir.path().join("scene");
        std::fs::write(&file, scene.to_text())?;
        self.stage.clear();
        let mut command = Command::new(&self.actor);
        command.arg(&file).arg(self.stage.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).current_dir(self.dir.path());
        command.env_remove("LD_PRELOAD");
        if esca && std::env::var_os("ESCA_SUITE").is_none_or(|s| s != "plain") {
            command.env("LD_PRELOAD", library());
            command.env("ESCA_POLICY", scene.policy.name());
        }
        let mut child = command.spawn().context("the actor")?;
        let played = self.play(scene, &mut child);
        if played.is_err() {
            let _ = hung::end_family(child.id());
            let _ = child.wait();
        }
        played
    }

    fn play(&self, scene: &Scene, child: &mut Child) -> Result<Facts> {
        let end = Instant::now() + LIMIT;
        while self.stage.port.load(SeqCst) == 0 {
            if Instant::now() > end {
                bail!("the actor does not begin");
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        let stalled = scene.before(Before::Stalled);
        let port = self.stage.port.load(SeqCst) as u16;
        let streams = peer::connect_all(port, stalled)?;
        self.stage.connected.store(1, SeqCst);
        let mut facts = Facts::new();
        let seen: Vec<Seen> = std::thread::scope(|scope| {
            let stage: &Stage = &self.stage;
            let players: Vec<_> = streams
                .into_iter()
                .enumerate()
                .map(|(c, s)| scope.spawn(move || peer::play(s, c, stage, stalled && c != 1)))
                .collect();
            let status = self.wait(child, end);
            facts.insert("end".to_owned(), status);
            self.stage.gone.store(1, SeqCst);
            players.into_iter().filter_map(|p| p.join().ok()).collect()
        });
        self.notes(scene, &seen, &mut facts);
        Ok(facts)
    }

    fn wait(&self, child: &mut Child, end: Instant) -> String {
        let heir = |stage: &Stage| match stage.heir.load(SeqCst) {
            u32::MAX => true,
            pid => self.is_ours(pid),
        };
        let mut status = None;
        loop {
            if status.is_none() {
                status = child.try_wait().ok().flatten();
            }
            match status {
                Some(s) if !heir(&self.stage) => {
                    return match (s.code(), s.signal()) {
                        (Some(c), _) => format!("status {c}"),
                        (_, Some(n)) => format!("signal {n}"),
                        _ => "?".to_owned(),
                    };
                }
                _ if Instant::now() > end => {
                    let mut waits = String::new();
                    if status.is_none() {
                        waits = hung::end_family(child.id());
                    }
                    let pid = self.stage.heir.load(SeqCst);
                    if self.is_ours(pid) {
                        let _ = hung::end_family(pid);
                    }
                    let _ = child.wait();
                    say_if_asked(&waits);
                    return "hangs".to_owned();
                }
                _ => std::thread::sleep(Duration::from_micros(500)),
            }
        }
    }

    /// Whether a process is an actor of this runner: what the actor says may
    /// be a number of another namespace, and another's process must not be
    /// ended.
    fn is_ours(&self, pid: u32) -> bool {
        let stage = self.stage.path().to_string_lossy();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let dead = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        pid > 1
            && line.split(|b| *b == 0).any(|w| w == stage.as_bytes())
            && dead.is_ok_and(|s| !s.contains(") Z"))
    }

    fn notes(&self, scene: &Scene, seen: &[Seen], facts: &mut Facts) {
        let stalled = scene.before(Before::Stalled);
        let mut count = BTreeMap::<(usize, u8), u32>::new();
        for n in self.stage.notes() {
            let k = count.entry((n.item, n.what as u8)).or_default();
            *k += 1;
            // What a stalled client's stream takes is the kernel's to say.
            let lost = scene.items.contains(&Item::Replace(By::Asm));
            if (stalled || lost) && n.what == What::Wrote {
                continue;
            }
            let name = format!("item {} {:?} {k}", n.item, n.what);
            let value = match n.what {
                What::Result | What::Wrong | What::Kept => n.value.to_string(),
                What::Took if n.value > SLOW => "stalls".to_owned(),
                What::Took => "goes on".to_owned(),
                What::Wrote => {
                    let arrival = seen.get(n.client).and_then(|s| {
                        let mut a = s.arrivals.iter();
                        a.find(|(_, sum)| *sum as i64 >= n.value)
                    });
                    match arrival {
                        Some((at, _)) if at.saturating_sub(n.at) > LATE => "late".to_owned(),
                        Some(_) => "prompt".to_owned(),
                        None => "never".to_owned(),
                    }
                }
            };
            facts.insert(name, value);
        }
        for (c, s) in seen.iter().enumerate().take(CLIENTS) {
            let promised = self.stage.promised[c].load(SeqCst);
            let bytes = match s.wrong {
                Some(_) => "wrong bytes".to_owned(),
                // A close by the instruction loses what was promised: a limit
                // that docs/semantics.md names.
                None if s.n < promised && scene.items.contains(&Item::Replace(By::Asm)) => {
                    "all bytes".to_owned()
                }
                None if s.n < promised => "bytes missing".to_owned(),
                None if s.n > promised => "too many bytes".to_owned(),
                None => "all bytes".to_owned(),
            };
            facts.insert(format!("client {c} bytes"), bytes);
            // A process killed with bytes of its clients unread resets them,
            // or not: both happen.
            let ended = match s.ended {
                Ended::Never => "open",
                _ => "ended",
            };
            facts.insert(format!("client {c} end"), ended.to_owned());
        }
    }
}

fn say_if_asked(what: &str) {
    if std::env::var_os("ESCA_MODEL_HANGS").is_some() {
        eprintln!("{what}");
    }
}
