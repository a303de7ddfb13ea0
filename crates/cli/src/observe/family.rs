//! A server's processes: the one that was named and its descendants, looked
//! for anew each time, because servers replace their workers.

use super::Counts;
use super::table::{Found, Header, Key, Source, find};
use anyhow::{Result, anyhow, bail};
use esca_abi::status::Status;
use procfs::process::{Process, all_processes};
use std::collections::BTreeMap;

/// How a process stands to the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It runs without the library.
    Without,
    /// With it, but it has not waited for events yet: nothing is counted.
    Dormant,
    /// It counts.
    Counting,
}

/// One process and what it counted (those that share a table: all of them).
#[derive(Clone)]
pub struct Member {
    pub pid: i32,
    pub name: String,
    pub standing: Standing,
    pub header: Option<Header>,
    pub counts: Counts,
    key: Option<Key>,
}

/// The processes of one server, and what those counted that are gone.
pub struct Family {
    root: Process,
    name: String,
    sources: BTreeMap<Key, Open>,
    gone: Counts,
    /// As of the last look.
    pub members: Vec<Member>,
}

struct Open {
    source: Source,
    last: Counts,
    seen: bool,
}

impl Family {
    /// The family of `pid`, looked at once. Errors where there is no such
    /// process.
    pub fn of(pid: i32) -> Result<Self> {
        let root = Process::new(pid)
            .ok()
            .filter(Process::is_alive)
            .ok_or_else(|| anyhow!("there is no process {pid}; pidof(1) finds a server's"))?;
        let mut family = Family {
            name: name_of(&root),
            root,
            sources: BTreeMap::new(),
            gone: Counts::default(),
            members: Vec::new(),
        };
        family.look()?;
        Ok(family)
    }

    /// Fails where no process of the family runs with the library.
    pub fn require_library(&self) -> Result<()> {
        if self.members.iter().any(|m| m.standing != Standing::Without) {
            return Ok(());
        }
        let pid = self.pid();
        bail!(
            "process {pid} ({}) runs without ESCA's library; start it by 'esca run -- CMD' \
             or 'esca enable UNIT' ('esca doctor --pid {pid}' says what that would gain)",
            self.name
        )
    }

    pub fn pid(&self) -> i32 {
        self.root.pid()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_alive(&self) -> bool {
        self.root.is_alive()
    }

    /// Looks at all processes and reads their counters.
    pub fn look(&mut self) -> Result<()> {
        for open in self.sources.values_mut() {
            open.seen = false;
        }
        self.members.clear();
        for process in family(&self.root) {
            let found = match find(&process) {
                Ok(f) => f,
                // Ended meanwhile; its table, if it was open, is read below.
                Err(_) if !process.is_alive() => continue,
                Err(e) => return Err(e),
            };
            let mut member = Member {
                pid: process.pid(),
                name: name_of(&process),
                standing: Standing::Without,
                header: None,
                counts: Counts::default(),
                key: None,
            };
            match found {
                Found::Without => {}
                Found::Dormant => member.standing = Standing::Dormant,
                Found::Counting(source) => {
                    let key = source.key;
                    let open = self.sources.entry(key).or_insert_with(|| Open {
                        source,
                        last: Counts::default(),
                        seen: false,
                    });
                    if let Ok((header, counts)) = open.source.read() {
                        member.standing = Standing::Counting;
                        member.header = Some(header);
                        member.counts.add(&counts);
                        member.key = Some(key);
                        open.last = counts;
                        open.seen = true;
                    }
                }
            }
            self.members.push(member);
        }
        self.bury();
        Ok(())
    }

    /// What processes counted that are gone goes into one sum: totals never
    /// fall.
    fn bury(&mut self) {
        let gone = &mut self.gone;
        self.sources.retain(|_, open| {
            if !open.seen {
                // Shared memory outlives its process while it is open.
                let last = open.source.read().map_or(open.last.clone(), |(_, c)| c);
                gone.add(&last);
            }
            open.seen
        });
    }

    /// The sum over the family, those gone included; a shared table once.
    pub fn total(&self) -> Counts {
        let mut all = Counts::default();
        all.add(&self.gone);
        for open in self.sources.values() {
            all.add(&open.last);
        }
        all
    }

    /// The settings in force.
    pub fn header(&self) -> Option<Header> {
        self.members.iter().find_map(|m| m.header.clone())
    }

    /// Why the library does less than it was asked for in any of the
    /// processes, each reason once.
    pub fn noted(&self) -> Vec<(Status, u8)> {
        let headers = self.members.iter().filter_map(|m| m.header.as_ref());
        let mut all: Vec<_> = headers.flat_map(|h| h.noted.clone()).collect();
        all.sort_by_key(|(s, _)| *s as u8);
        all.dedup_by_key(|(s, _)| *s);
        all
    }

    /// Whether `m` counts in the table of a process listed before it.
    pub fn shares(&self, m: &Member) -> bool {
        let first = self.members.iter().find(|o| o.key == m.key);
        m.key.is_some() && first.is_some_and(|o| o.pid != m.pid)
    }
}

/// The name of a process (its first 15 bytes).
fn name_of(p: &Process) -> String {
    p.stat().map_or_else(|_| "?".into(), |s| s.comm)
}

/// `root` and its descendants, parents first.
fn family(root: &Process) -> Vec<Process> {
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for p in all_processes().into_iter().flatten().flatten() {
        if let Ok(stat) = p.stat() {
            children.entry(stat.ppid).or_default().push(p);
        }
    }
    let mut all = Vec::new();
    if let Ok(p) = Process::new(root.pid()) {
        all.push(p);
    }
    let mut at = 0;
    while let Some(p) = all.get(at) {
        let mut mine = children.remove(&p.pid()).unwrap_or_default();
        mine.sort_by_key(Process::pid);
        all.extend(mine);
        at += 1;
    }
    all
}
