//! What leaves the program is seen: every function that a C library exports
//! stands in `coverage/libc.txt`, and every system call in the tables of
//! syscall(2).

use esca_suite::build::{run, workspace};
use esca_suite::mode::library;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Names, each with the section that it stands in.
fn table() -> BTreeMap<String, String> {
    let path = workspace().join("crates/suite/coverage/libc.txt");
    let text = std::fs::read_to_string(path).expect("the table");
    let mut section = String::new();
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        if let Some((name, _)) = line.strip_prefix('[').and_then(|l| l.split_once(']')) {
            section = name.to_owned();
            continue;
        }
        for name in line.split_whitespace() {
            let twice = all.insert(name.to_owned(), section.clone());
            assert_eq!(twice, None, "{name} stands in the table twice");
        }
    }
    all
}

/// The functions that a library exports, without those of the C library's own
/// parts.
fn exports(library: &Path) -> BTreeSet<String> {
    let symbols = run(Command::new("nm")
        .args(["-D", "--defined-only", "--with-symbol-versions"])
        .arg(library));
    let function = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, name) = (words.next()?, words.next()?);
        let is_function = matches!(kind, "T" | "W" | "i" | "V");
        (is_function && !name.contains("@GLIBC_PRIVATE") && !name.contains("@@GLIBC_PRIVATE"))
            .then(|| name.split('@').next().unwrap_or(name).to_owned())
    };
    symbols.lines().filter_map(function).collect()
}

/// The C libraries of this machine.
fn libraries() -> Vec<std::path::PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the test's own maps");
    let own = maps
        .lines()
        .filter_map(|l| l.split_whitespace().nth(5))
        .find(|path| {
            path.rsplit('/')
                .next()
                .is_some_and(|f| f.starts_with("libc.so"))
        })
        .expect("the test's own C library");
    let musl = ["x86_64", "aarch64"].map(|a| format!("/lib/ld-musl-{a}.so.1"));
    let musl = musl
        .into_iter()
        .map(Into::into)
        .filter(|p: &std::path::PathBuf| p.exists());
    std::iter::once(own.into()).chain(musl).collect()
}

#[test]
fn every_function_of_the_c_library_has_an_entry() {
    let table = table();
    for library in libraries() {
        let missing: Vec<_> = exports(&library)
            .into_iter()
            .filter(|name| !table.contains_key(name))
            .collect();
        assert!(
            missing.is_empty(),
            "{} exports what crates/suite/coverage/libc.txt does not have: {missing:?}\nRead what \
             each does. If it can move bytes on a descriptor, make or close one, wait, show \
             outside or end the process, interpose it (crates/preload/src/calls) and add it to \
             [interposed]; else add it to the section that says why not.",
            library.display()
        );
    }
}

#[test]
fn what_the_table_calls_interposed_is() {
    let table = table();
    let own = ["esca_init", "batch_start", "batch_flush", "esca_results"];
    let exports = exports(&library());
    let wanted: BTreeSet<String> = table
        .iter()
        .filter(|(_, section)| *section == "interposed")
        .map(|(name, _)| name.clone())
        .collect();
    let missing: Vec<_> = wanted.difference(&exports).collect();
    assert!(
        missing.is_empty(),
        "not exported by the library: {missing:?}"
    );
    let more: Vec<_> = exports
        .difference(&wanted)
        .filter(|name| !own.contains(&name.as_str()))
        .collect();
    assert!(
        more.is_empty(),
        "exported, and not in [interposed]: {more:?}"
    );
}

/// The system calls of a table of syscall(2).
fn treated(arch: &str) -> BTreeSet<String> {
    let path = workspace().join(format!("crates/preload/src/calls/raw/{arch}.rs"));
    let text = std::fs::read_to_string(path).expect("the table");
    let lines = text.lines().filter(|l| !l.trim_start().starts_with("//"));
    let words = lines.flat_map(str::split_whitespace);
    words
        .map(|w| w.trim_end_matches(';'))
        .filter(|w| w.starts_with("SYS_"))
        .map(str::to_owned)
        .collect()
}

/// Where the sources of the `libc` crate are.
fn libc_sources() -> std::path::PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let said = run(Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--filter-platform",
        ])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .current_dir(workspace()));
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let packages = said["packages"].as_array().expect("packages");
    let libc = packages.iter().find(|p| p["name"] == "libc").expect("libc");
    let manifest = Path::new(libc["manifest_path"].as_str().expect("a path"));
    manifest
        .parent()
        .expect("a directory")
        .join("src/unix/linux_like/linux/gnu/b64")
}

#[test]
fn every_system_call_has_a_treatment() {
    let sources = libc_sources();
    for (arch, file) in [
        ("x86_64", "x86_64/not_x32.rs"),
        ("aarch64", "aarch64/mod.rs"),
    ] {
        let text = std::fs::read_to_string(sources.join(file)).expect("libc's numbers");
        let names = text.lines().filter_map(|line| {
            let (name, _) = line.trim().strip_prefix("pub const ")?.split_once(':')?;
            name.starts_with("SYS_").then(|| name.to_owned())
        });
        let known: BTreeSet<String> = names.collect();
        assert!(known.len() > 290, "{arch}: {} numbers", known.len());
        let missing: Vec<_> = known.difference(&treated(arch)).cloned().collect();
        assert!(missing.is_empty(), "{arch}: no treatment for {missing:?}");
    }
}
