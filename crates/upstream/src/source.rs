//! Debian's source packages, through apt, without a change to the machine's
//! apt configuration: a list of sources and a state directory of our own.

use anyhow::{Context, Result, bail};
use esca_suite::build::workspace;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The source version of an installed binary package.
///
/// # Errors
/// When it is not installed.
pub fn version(binary: &str) -> Result<String> {
    let version = Command::new("dpkg-query")
        .args(["-W", "-f=${source:Version}", binary])
        .output()
        .context("cannot run dpkg-query")?;
    if !version.status.success() {
        bail!("package {binary} is not installed: run scripts/setup.sh suites");
    }
    Ok(String::from_utf8(version.stdout)?)
}

/// The unpacked source of a package, in the version of the installed binary
/// package; fetched once.
///
/// # Errors
/// When it cannot be had: no network, or a mirror that lacks it.
pub fn unpacked(source: &str, binary: &str) -> Result<PathBuf> {
    let version = version(binary)?;
    let base = workspace().join("target/upstream");
    std::fs::create_dir_all(&base)?;
    let base = base.canonicalize()?;
    // Only whole trees have this name.
    let tree = base.join(format!("{source}-{version}"));
    if !tree.exists() {
        let part = base.join(format!("{source}.part-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&part);
        std::fs::create_dir(&part)?;
        let done = fetch(source, &version, &part, &base);
        let moved = done.and_then(|tmp| Ok(std::fs::rename(tmp, &tree)?));
        let _ = std::fs::remove_dir_all(&part);
        // Another process may have been as quick.
        if !tree.exists() {
            moved.with_context(|| {
                format!("cannot get the source package {source} {version} from Debian")
            })?;
        }
    }
    Ok(tree)
}

fn fetch(source: &str, version: &str, part: &Path, base: &Path) -> Result<PathBuf> {
    let apt = Apt::new(base)?;
    apt.run(&["update"], part)?;
    let exact = format!("{source}={version}");
    apt.run(&["source", "--only-source", &exact], part)?;
    let dirs = std::fs::read_dir(part)?.filter_map(|e| Some(e.ok()?.path()));
    let mut dirs = dirs.filter(|p| p.is_dir());
    dirs.next().context("apt-get source left no directory")
}

struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(base: &Path) -> Result<Apt> {
        let lists = base.join("lists");
        std::fs::create_dir_all(lists.join("partial"))?;
        let list = base.join("sources.list");
        std::fs::write(&list, sources()?)?;
        let set = |name: &str, value: &Path| format!("{name}={}", value.display());
        let cache = base.join("cache");
        std::fs::create_dir_all(cache.join("archives/partial"))?;
        Ok(Apt {
            options: vec![
                set("Dir::Etc::SourceList", &list),
                set("Dir::Etc::SourceParts", Path::new("/dev/null")),
                set("Dir::State::lists", &lists),
                set("Dir::Cache", &cache),
                // The directory need not be open to the user _apt.
                "APT::Sandbox::User=root".into(),
                "Acquire::Retries=3".into(),
            ],
        })
    }

    fn run(&self, words: &[&str], at: &Path) -> Result<()> {
        let mut command = Command::new("apt-get");
        for option in &self.options {
            command.args(["-o", option]);
        }
        let done = command.arg("-q").args(words).current_dir(at).output()?;
        if !done.status.success() {
            let text = String::from_utf8_lossy(&done.stderr).into_owned();
            bail!("apt-get {}: {}", words.join(" "), text.trim());
        }
        Ok(())
    }
}

/// `deb-src` lines for the Debian archives that the machine installs from.
fn sources() -> Result<String> {
    let format = "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)";
    let targets = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output()
        .context("cannot run apt-get")?;
    let signed = if Path::new(KEYRING).exists() {
        format!("[signed-by={KEYRING}] ")
    } else {
        String::new()
    };
    let mut text = String::new();
    for line in String::from_utf8_lossy(&targets.stdout).lines() {
        if let Some(archive) = line.strip_prefix("Debian ") {
            writeln!(text, "deb-src {signed}{archive}")?;
        }
    }
    if text.is_empty() {
        bail!("apt knows no archive of Debian's: run apt-get update");
    }
    Ok(text)
}
