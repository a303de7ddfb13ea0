//! Scenes in the test suite: some from a fixed seed, and those that failed once.
#![allow(missing_docs)]

use esca_model::scene::Scene;
use esca_model::scene::hunt::{Differs, Plan, differs, hunt, replay, report};
use esca_model::scene::run::Runner;
use std::path::Path;

/// Scenes, each run on the plain kernel and under the policy that it names.
const SCENES: u64 = 600;

fn actor() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_scene-actor"))
}

/// Whether runs differ in nothing but time. A hunt (`esca-model hunt`) tells
/// of it too; a test does not, on a machine that others use.
fn is_time(differs: &Differs) -> bool {
    const TIMES: [&str; 3] = ["prompt", "late", "stalls"];
    differs
        .iter()
        .all(|(_, _, esca)| TIMES.contains(&esca.as_str()))
}

#[test]
fn scenes_come_out_as_on_the_plain_kernel() {
    let plan = Plan {
        seed: 0xe5ca,
        jobs: 8,
        seconds: 80,
        scenes: SCENES,
    };
    let found = hunt(actor(), &plan, None).expect("the runs");
    let all = found
        .kinds
        .iter()
        .filter(|(_, kind)| !is_time(&kind.differs));
    let all: Vec<_> = all.map(|(name, kind)| report(name, kind)).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
    assert!(found.scenes > 100, "{} scenes only", found.scenes);
}

#[test]
fn what_failed_once_stays_right() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes");
    let (mut done, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(dir).expect("the scenes") {
        let path = entry.expect("a file").path();
        let name = path.display();
        let text = std::fs::read_to_string(&path).expect("a scene");
        let scene = Scene::from_text(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let differs = replay(actor(), &scene).expect("a run");
        if let Some(differs) = differs.filter(|d| !is_time(d)) {
            wrong.push(format!("{name}: {differs:?}"));
        }
        done += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(done > 0, "no scene was run");
}

#[test]
fn a_scene_differs_from_one_that_ends_otherwise() {
    let runner = Runner::new(actor());
    let scene = |end: &str| {
        let text =
            format!("\"Coalesce\"\n{{\"Write\":{{\"to\":0,\"how\":\"Write\",\"n\":9}}}}\n{end}");
        Scene::from_text(&text).expect("a scene")
    };
    let run = |end| runner.run(&scene(end), false).expect("a run");
    let (quick, signal) = (run(r#"{"End":"Quick"}"#), run(r#"{"End":"Abort"}"#));
    assert_eq!(differs(&quick, &run(r#"{"End":"Quick"}"#)), []);
    let differ = differs(&quick, &signal);
    assert_eq!(
        differ,
        [(
            "end".to_owned(),
            "status 3".to_owned(),
            "signal 6".to_owned()
        )]
    );
}

#[test]
fn a_scene_is_kept_as_text() {
    let text = "\"Batch\"\n{\"Before\":\"Stalled\"}\n\"Fill\"\n{\"End\":\"Quick\"}\n";
    let scene = Scene::from_text(text).expect("a scene");
    assert_eq!(scene.to_text(), text);
}
