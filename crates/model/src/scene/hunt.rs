//! The hunt for scenes that fail: generates, confirms, shrinks, and counts
//! what was found by its kind.

use super::run::{Facts, Runner};
use super::{Item, Scene, generate, kinds};
use anyhow::{Result, anyhow, bail};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often a scene that failed is run again.
const AGAIN: usize = 4;
/// How often it must fail then, and how often one that hangs or dies must.
const MUST: usize = 2;

/// How a hunt goes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Scenes follow from it.
    pub seed: u64,
    /// Hunters at work at once.
    pub jobs: u64,
    /// It ends then.
    pub seconds: u64,
    /// It ends after so many scenes.
    pub scenes: u64,
}

/// A kind of failure.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Scenes tried before it was found.
    pub after: u64,
    /// Seconds before it was found.
    pub seconds: f64,
    /// Failing scenes that have all its items.
    pub times: u64,
    /// The shortest scene.
    pub scene: Scene,
    /// What differed, in that scene: name, plain, with ESCA.
    pub differs: Differs,
}

/// What was found.
#[derive(Default)]
pub struct Found {
    /// Scenes.
    pub scenes: u64,
    /// Kinds by name.
    pub kinds: BTreeMap<String, Kind>,
    /// Scenes that differed and did not do so again.
    pub once: u64,
}

/// What differs: its name, on the plain kernel, and with ESCA.
pub type Differs = Vec<(String, String, String)>;

/// Where two runs of a scene differ.
#[must_use]
pub fn differs(plain: &Facts, esca: &Facts) -> Differs {
    let names: std::collections::BTreeSet<_> = plain.keys().chain(esca.keys()).collect();
    let of = |f: &Facts, n: &String| f.get(n).cloned().unwrap_or_else(|| "none".to_owned());
    let all = names
        .into_iter()
        .map(|n| (n.clone(), of(plain, n), of(esca, n)));
    // Bytes may leave earlier than on the plain kernel, which holds some back.
    // All of them may arrive where the program's own race (a number closed by
    // an instruction, a connection dissolved) loses some on the plain kernel.
    all.filter(|(_, a, b)| a != b && (a != "late" || b != "prompt") && b != "all bytes")
        .collect()
}

/// Whether a scene fails, and does so again; plain runs must agree.
fn confirm(runner: &Runner, scene: &Scene, first: Option<Differs>) -> Result<Option<Differs>> {
    let differ = match first {
        Some(d) => d,
        None => differs(&runner.run(scene, false)?, &runner.run(scene, true)?),
    };
    if differ.is_empty() {
        return Ok(None);
    }
    let mut steady: Vec<(_, usize)> = differ.into_iter().map(|d| (d, 0)).collect();
    for k in 0..AGAIN {
        if k < AGAIN - 1 {
            let plain = runner.run(scene, false)?;
            steady.retain(|((name, value, _), _)| plain.get(name).map_or("none", |v| v) == value);
        }
        let esca = runner.run(scene, true)?;
        for ((name, plain, _), times) in &mut steady {
            let value = esca.get(name).map_or("none", |v| v);
            let earlier = plain == "late" && value == "prompt";
            *times += usize::from(value != plain && !earlier);
        }
        if steady.is_empty() {
            break;
        }
    }
    // The kernel's own timers send what is held back: what comes late must do
    // so each time.
    let must = |d: &(String, String, String)| match d {
        (name, _, _) if name == "end" => 1,
        (_, plain, _) if plain == "prompt" => AGAIN,
        _ => MUST,
    };
    steady.retain(|(d, times)| *times >= must(d));
    let kept: Differs = steady.into_iter().map(|(d, _)| d).collect();
    Ok((!kept.is_empty()).then_some(kept))
}

/// Takes items out as long as it still fails.
fn shrink(
    runner: &Runner,
    mut scene: Scene,
    mut differ: Differs,
    limit: Duration,
) -> Result<(Scene, Differs)> {
    let end = Instant::now() + limit;
    let mut k = scene.items.len();
    while k > 0 && Instant::now() < end {
        k -= 1;
        let mut shorter = scene.clone();
        shorter.items.remove(k);
        if let Some(d) = confirm(runner, &shorter, None)? {
            (scene, differ) = (shorter, d);
        }
    }
    Ok((scene, differ))
}

/// Hunts, by several hunters.
///
/// # Errors
/// Where a run could not be made.
pub fn hunt(actor: &Path, plan: &Plan, findings: Option<&Path>) -> Result<Found> {
    let found = Mutex::new(Found::default());
    let begin = Instant::now();
    let done: Vec<Result<()>> = std::thread::scope(|scope| {
        let hunters: Vec<_> = (0..plan.jobs)
            .map(|k| {
                let found = &found;
                scope.spawn(move || one(actor, plan, k, begin, found, findings))
            })
            .collect();
        let joined = hunters.into_iter().map(|h| h.join());
        joined
            .map(|d| d.unwrap_or_else(|_| bail!("a hunter panicked")))
            .collect()
    });
    done.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(found.into_inner().unwrap_or_else(|e| e.into_inner()))
}

fn one(
    actor: &Path,
    plan: &Plan,
    hunter: u64,
    begin: Instant,
    found: &Mutex<Found>,
    findings: Option<&Path>,
) -> Result<()> {
    let lock = || found.lock().unwrap_or_else(|e| e.into_inner());
    let runner = Runner::new(actor);
    let mut rng = [0; 32];
    rng[..8].copy_from_slice(&plan.seed.wrapping_add(hunter).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &rng);
    let mut source = TestRunner::new_with_rng(Config::default(), rng);
    let scenes = generate::scenes();
    while begin.elapsed().as_secs() < plan.seconds {
        let number = {
            let mut f = lock();
            if f.scenes >= plan.scenes {
                break;
            }
            f.scenes += 1;
            f.scenes
        };
        let tree = scenes.new_tree(&mut source).map_err(|e| anyhow!("{e}"))?;
        let scene = tree.current();
        let Ok(plain) = runner.run(&scene, false) else {
            continue;
        };
        let Ok(esca) = runner.run(&scene, true) else {
            continue;
        };
        let differ = differs(&plain, &esca);
        if differ.is_empty() {
            continue;
        }
        // What holds all items of a known kind, in their order, and comes out
        // as that does, is most likely of that kind.
        let known = |f: &Found| {
            let mut names = f.kinds.iter().filter(|(_, k)| {
                kinds::covers(&scene, &k.scene)
                    && kinds::symptom(&differ) == kinds::symptom(&k.differs)
            });
            names.next().map(|(n, _)| n.clone())
        };
        {
            let mut f = lock();
            if let Some(name) = known(&f) {
                if let Some(k) = f.kinds.get_mut(&name) {
                    k.times += 1;
                }
                continue;
            }
        }
        let after = begin.elapsed().as_secs_f64();
        let Ok(Some(differ)) = confirm(&runner, &scene, Some(differ)) else {
            lock().once += 1;
            continue;
        };
        let (scene, differ) = shrink(&runner, scene, differ, Duration::from_secs(60))?;
        let name = kinds::name(&scene, &differ);
        let mut f = lock();
        // Shrinking has a limit: what still holds a smaller kind is that one.
        let same = |a: &Scene, b: &Scene, d: &Differs, e: &Differs| {
            kinds::covers(a, b) && kinds::symptom(d) == kinds::symptom(e)
        };
        let smaller = f
            .kinds
            .values_mut()
            .find(|k| same(&scene, &k.scene, &differ, &k.differs));
        if let Some(k) = smaller {
            k.times += 1;
            continue;
        }
        f.kinds
            .retain(|_, k| !same(&k.scene, &scene, &k.differs, &differ));
        let fresh = !f.kinds.contains_key(&name);
        let kind = f.kinds.entry(name.clone()).or_insert(Kind {
            after: number,
            seconds: after,
            times: 0,
            scene: scene.clone(),
            differs: differ.clone(),
        });
        kind.times += 1;
        if scene.items.len() < kind.scene.items.len() {
            (kind.scene, kind.differs) = (scene, differ);
        }
        let text = report(&name, kind);
        let n = f.kinds.len();
        drop(f);
        if fresh {
            println!(
                "[{n} kinds, {number} scenes, {:.0} s] {text}",
                begin.elapsed().as_secs_f64()
            );
            if let Some(dir) = findings {
                std::fs::create_dir_all(dir)?;
                std::fs::write(dir.join(format!("{n:02}.txt")), &text)?;
            }
        }
    }
    Ok(())
}

/// A kind, its scene, and what differs.
#[must_use]
pub fn report(name: &str, kind: &Kind) -> String {
    let mut text = format!("# {name}\n");
    for (what, plain, esca) in &kind.differs {
        text += &format!("# {what}: plain {plain}, with ESCA {esca}\n");
    }
    text + &kind.scene.to_text()
}

impl Found {
    /// The table for docs/testing.md.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows: Vec<_> = self.kinds.iter().collect();
        rows.sort_by_key(|(_, k)| k.after);
        let row = |(n, k): (&String, &Kind)| {
            format!("| {n} | {} | {:.0} | {} |\n", k.after, k.seconds, k.times)
        };
        let head = "| kind | after scenes | seconds | times |\n| --- | --- | --- | --- |\n";
        head.to_owned() + &rows.into_iter().map(row).collect::<String>()
    }
}

/// Runs one scene; what differs each time.
///
/// # Errors
/// Where a run could not be made.
pub fn replay(actor: &Path, scene: &Scene) -> Result<Option<Differs>> {
    confirm(&Runner::new(actor), scene, None)
}

/// Items of a scene but for plain ones.
pub fn special(scene: &Scene) -> impl Iterator<Item = &Item> {
    scene
        .items
        .iter()
        .filter(|i| !matches!(i, Item::Wake | Item::Rest(_) | Item::Spin(_)))
}
