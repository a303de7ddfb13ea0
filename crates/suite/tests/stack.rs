//! A call through the library fits where the plain call fits: on a small
//! signal stack, on a coroutine's. Measured in every state, for every function
//! that the library exports and that has a frame of its own; one without an
//! entry in the table fails. Those that are trampolines have none: each runs a
//! hook of a few kinds and jumps on (`arch/trampoline` in the preload library).
//! Of them those in the table are measured.

use esca_suite::build::run;
use esca_suite::mode::{Mode, library, policies};
use esca_suite::stack::STATES;
use std::collections::BTreeMap;
use std::process::Command;

/// What the library may need beyond the plain call.
const MOST: usize = 1536;

/// Functions that cannot be measured alone, and why.
const LEFT_OUT: [&str; 26] = [
    // They need an object that only another call makes; the library's part of
    // each is that of their neighbours in calls/effects.rs and calls/life.rs.
    "fclose",
    "pthread_barrier_wait",
    "pthread_cond_wait",
    "sem_wait",
    "posix_spawn_file_actions_adddup2",
    // The C library opens a file for it, as large as it likes.
    "getaddrinfo",
    // They make a process, a terminal or a file, or change what the test's own
    // process is; the library's part of each is that of `_Fork`, `clone`,
    // `posix_spawn`, `fclose` and `setuid`.
    "_IO_popen",
    "_IO_proc_open",
    "__clone",
    "__fork",
    "daemon",
    "fork",
    "forkpty",
    "pidfd_spawn",
    "pidfd_spawnp",
    "login_tty",
    "freopen",
    "freopen64",
    "getpt",
    "inotify_init",
    "initgroups",
    "openpty",
    "tmpfile",
    "tmpfile64",
    "pthread_setschedparam",
    "sched_setattr",
];

/// How a trampoline begins: it saves the registers that carry arguments.
const TRAMPOLINE: &[u8] = if cfg!(target_arch = "x86_64") {
    // push rdi, rsi, rdx, rcx, r8, r9
    &[0x57, 0x56, 0x52, 0x51, 0x41, 0x50, 0x41, 0x51]
} else {
    // stp x29, x30, [sp, #-imm]!: its last two bytes.
    &[]
};

/// The functions to be measured.
fn exported() -> Vec<String> {
    use object::{Object, ObjectSection, ObjectSymbol};
    let known = run(&mut Command::new(env!("CARGO_BIN_EXE_stacks")));
    let known: Vec<_> = known.lines().collect();
    let bytes = std::fs::read(library()).expect("the library");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let text = file.section_by_name(".text").expect("its code");
    let code = text.data().expect("bytes");
    let begins = |at: u64, with: &[u8]| {
        let at = at.checked_sub(text.address()).map(|at| at as usize);
        at.and_then(|at| code.get(at..))
            .is_some_and(|code| code.starts_with(with))
    };
    let functions = file
        .dynamic_symbols()
        .filter(|s| s.is_definition() && s.kind() == object::SymbolKind::Text);
    let mut names = Vec::new();
    for f in functions {
        let name = f.name().expect("a name");
        if known.contains(&name) || !begins(f.address(), TRAMPOLINE) {
            names.push(name.to_owned());
        }
    }
    names.retain(|n| !LEFT_OUT.contains(&n.as_str()));
    names
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
