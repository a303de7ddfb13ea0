//! `esca generate`: man pages and completions, written by the build of the
//! package from the same definitions that read the command line.

use crate::Cli;
use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// The directory to write to; it is made if need be
    dir: PathBuf,
}

/// A term and what it means.
type Term = (&'static str, &'static str);

/// Sections that the flags do not say: of which page, the title, the text.
const MORE: &[(&str, &str, &[Term])] = &[
    (
        "esca",
        "FILES",
        &[
            (
                "/usr/lib/esca/libesca_preload.so",
                "The library that is preloaded.",
            ),
            (
                "/etc/systemd/system/UNIT.d/50-esca.conf",
                "The drop-in that esca-enable(1) writes.",
            ),
            ("/dev/esca", "The kernel module's device, if it is loaded."),
        ],
    ),
    (
        "esca",
        "SEE ALSO",
        &[(
            "/usr/share/doc/esca/docs",
            "operating.md (how to go to production and back), troubleshooting.md (every \
             message and what to do), semantics.md (what holds and what cannot be kept).",
        )],
    ),
    (
        "esca-run",
        "ENVIRONMENT",
        &[
            (
                "ESCA_POLICY, ESCA_RULES, ESCA_BACKEND",
                "As the flags of the same name; workers and children inherit them.",
            ),
            (
                "ESCA_STATS",
                "A file that each process writes its statistics to when it ends.",
            ),
            (
                "ESCA_LIB",
                "The library, if it is not where packages put it.",
            ),
            (
                "LD_PRELOAD",
                "What else is preloaded stays, behind ESCA's library.",
            ),
        ],
    ),
    (
        "esca-run",
        "EXIT STATUS",
        &[
            ("2", "A setting that does not exist."),
            ("126", "The program cannot be run or cannot be wrapped."),
            ("127", "The program was not found."),
            ("other", "Of the program; 128 and the signal that ended it."),
        ],
    ),
];

pub fn main(args: &Args) -> Result<()> {
    let at = |name: &str| args.dir.join(name);
    let man = at("man");
    fs::create_dir_all(&man).with_context(|| format!("cannot make {}", man.display()))?;
    let mut command = Cli::command();
    command.build();
    page(&command, &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut shown(&Cli::command()), "esca", &args.dir)
            .with_context(|| format!("cannot write to {}", args.dir.display()))?;
    }
    Ok(())
}

/// The command without what is hidden: completions offer everything else.
fn shown(command: &Command) -> Command {
    let all = command.get_subcommands().filter(|c| !c.is_hide_set());
    let mut bare = Command::new("esca").version(env!("CARGO_PKG_VERSION"));
    if let Some(about) = command.get_about() {
        bare = bare.about(about.clone());
    }
    bare.subcommands(all.cloned())
}

/// A page for a command and one for each below it.
fn page(command: &Command, dir: &Path) -> Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(concat!("esca ", env!("CARGO_PKG_VERSION")))
        .manual("ESCA");
    let file = dir.join(format!("{name}.1"));
    let mut text = Vec::new();
    man.render(&mut text)?;
    for (_, title, terms) in MORE.iter().filter(|(page, ..)| *page == name) {
        let mut more = Roff::new();
        more.control("SH", [*title]);
        for (term, meaning) in *terms {
            more.control("TP", []);
            more.text([bold(*term)]);
            more.text([roman(*meaning)]);
        }
        more.to_writer(&mut text)?;
    }
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let below = command.get_subcommands().filter(|c| !c.is_hide_set());
    for c in below.filter(|c| c.get_name() != "help") {
        page(c, dir)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command that is shown has a page, and completions know it.
    #[test]
    fn all_commands_and_no_hidden_one() {
        let dir = tempfile::tempdir().unwrap();
        main(&Args {
            dir: dir.path().into(),
        })
        .unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let (bash, zsh, fish) = (read("esca.bash"), read("_esca"), read("esca.fish"));
        let mut pages = 1;
        for c in Cli::command().get_subcommands() {
            let name = c.get_name();
            let file = dir.path().join(format!("man/esca-{name}.1"));
            assert_eq!(file.exists(), !c.is_hide_set(), "{name}");
            for script in [&bash, &zsh, &fish] {
                assert_eq!(script.contains(name), !c.is_hide_set(), "{name}");
            }
            pages += usize::from(!c.is_hide_set());
        }
        let found = fs::read_dir(dir.path().join("man")).unwrap().count();
        assert_eq!(found, pages);
        assert!(read("man/esca-run.1").contains("ESCA_POLICY"));
        for (page, title, _) in MORE {
            assert!(read(&format!("man/{page}.1")).contains(title));
        }
    }
}
