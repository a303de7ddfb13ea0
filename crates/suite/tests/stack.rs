//! A call through the library fits where the plain call fits: on a small
//! signal stack, on a coroutine's. Measured for every function that the
//! library exports, in every state; one without an entry in the table fails.

use esca_suite::build::run;
use esca_suite::mode::{Mode, library, policies};
use esca_suite::stack::STATES;
use std::collections::BTreeMap;
use std::process::Command;

/// What the library may need beyond the plain call.
const MOST: usize = 1536;

/// Functions that cannot be measured alone, and why.
const LEFT_OUT: [&str; 6] = [
    // They need an object that only another call makes; the library's part of
    // each is that of their neighbours in calls/effects.rs and calls/life.rs.
    "fclose",
    "pthread_barrier_wait",
    "pthread_cond_wait",
    "sem_wait",
    "posix_spawn_file_actions_adddup2",
    // The C library opens a file for it, as large as it likes.
    "getaddrinfo",
];

fn exported() -> Vec<String> {
    let text = run(Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(library()));
    let names = text.lines().filter_map(|l| l.split_once(" T "));
    let names = names.map(|(_, name)| name.to_owned());
    names.filter(|n| !LEFT_OUT.contains(&n.as_str())).collect()
}

fn measured(mode: Mode, state: &str, names: &[String]) -> BTreeMap<String, usize> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stacks"));
    command.arg(state).args(names);
    let stats = mode.apply(&mut command);
    let text = run(&mut command);
    if let Some(stats) = stats
        && state != STATES[0]
    {
        stats.assert_active();
    }
    let lines = text.lines().filter_map(|l| l.split_once(' '));
    lines
        .map(|(name, n)| (name.to_owned(), n.parse().expect("a number")))
        .collect()
}

#[test]
fn every_call_fits_where_the_plain_call_fits() {
    let names = exported();
    assert!(names.len() > 100, "the library's functions: {names:?}");
    let mut over = String::new();
    for state in STATES {
        let plain = measured(Mode::Plain, state, &names);
        assert_eq!(plain.len(), names.len());
        for mode in policies() {
            for (name, n) in measured(mode, state, &names) {
                let more = n.saturating_sub(plain[&name]);
                if more > MOST {
                    over += &format!(
                        "{mode:?} {state} {name}: {more} more than {}\n",
                        plain[&name]
                    );
                }
            }
        }
    }
    assert!(over.is_empty(), "more than {MOST} bytes more:\n{over}");
}
