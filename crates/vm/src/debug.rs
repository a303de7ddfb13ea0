//! The debug kernel: Debian's source, configured to report what goes wrong in
//! it (crates/vm/debug/config says what), and what runs under it.

use crate::broken;
use crate::kernel::{Kernel, output, run};
use crate::{boot, module};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's source package.
const PACKAGE: &str = "linux-source-6.12";
/// What is set beyond nothing.
const CONFIG: &str = "crates/vm/debug/config";
/// For the kernel's command line: whatever is found ends the machine.
const WORDS: &str = "panic_on_warn=1 page_poison=1";

/// How the debug kernel is used.
#[derive(clap::Args)]
pub struct DebugArgs {
    /// One of them only [default: both]
    #[arg(long)]
    only: Option<Part>,
    /// Of the broken variants these only, from 1 [default: all]
    #[arg(long)]
    variant: Vec<usize>,
    /// Entries for the fuzzer
    #[arg(long, default_value_t = 25_000)]
    entries: u32,
}

/// What runs under the debug kernel.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Part {
    /// The module's tests
    Module,
    /// Broken variants of the module, each of which must be reported
    Broken,
}

/// Builds the kernel and the module; runs the tests, then the broken variants.
pub fn test(args: &DebugArgs, dir: &Path) -> Result<()> {
    let kernel = get(dir)?;
    if args.only != Some(Part::Broken) {
        let module = module::build(&kernel, dir)?;
        let task = format!("debug,full,{}", args.entries);
        boot(&kernel, dir, Some(&module), WORDS, &task, false)?;
    }
    if args.only != Some(Part::Module) {
        broken::all(&kernel, dir, WORDS, &args.variant)?;
    }
    Ok(())
}

/// Gets the kernel, from `dir` where it was built before.
fn get(dir: &Path) -> Result<Kernel> {
    let config = fs::read_to_string(CONFIG)
        .with_context(|| format!("no {CONFIG} here; run this in the project's own directory"))?;
    let root = dir.canonicalize()?.join("debug");
    let (source, build) = (root.join(PACKAGE), root.join("build"));
    if !root.join("unpacked").exists() {
        unpack(&root)?;
    }
    // What it was built with; without it the build is not complete.
    let stamp = root.join("built");
    if fs::read_to_string(&stamp).unwrap_or_default() != config {
        let _ = fs::remove_file(&stamp);
        configure(&source, &build, &config)?;
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        eprintln!(
            "esca-vm: building the debug kernel in {}; that takes a while",
            build.display()
        );
        run(Command::new("nice")
            .args(["-n", "10", "make", "-s", "-C"])
            .arg(&build)
            .arg(format!("-j{jobs}"))
            .args(["bzImage", "modules"]))
        .context("cannot build the debug kernel; 'sh scripts/setup.sh vm-debug' gets the tools")?;
        fs::write(&stamp, &config)?;
    }
    let release = fs::read_to_string(build.join("include/config/kernel.release"))
        .with_context(|| format!("{} is incomplete; remove it", build.display()))?;
    Ok(Kernel {
        name: "debug".into(),
        release: release.trim().into(),
        image: build.join("arch/x86/boot/bzImage"),
        headers: build,
    })
}

/// Downloads and unpacks the source.
fn unpack(root: &Path) -> Result<()> {
    fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
    if output(Command::new("apt-cache").args(["show", PACKAGE])).is_err() {
        // A fresh machine has no package lists.
        run(Command::new("apt-get").args(["update", "-q"]))?;
    }
    eprintln!("esca-vm: getting {PACKAGE} from Debian");
    let mut get = Command::new("apt-get");
    // As root, apt fetches as its own user, who cannot write everywhere.
    get.args(["-q", "-o", "APT::Sandbox::User=root", "download", PACKAGE]);
    run(get.current_dir(root)).context("cannot download the kernel's source")?;
    let packages: Vec<PathBuf> = fs::read_dir(root)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    for package in packages
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "deb"))
    {
        run(Command::new("dpkg").arg("-x").arg(package).arg(root))?;
        fs::remove_file(package)?;
    }
    let archive = root.join(format!("usr/src/{PACKAGE}.tar.xz"));
    run(Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(root))?;
    fs::remove_dir_all(root.join("usr"))?;
    fs::write(root.join("unpacked"), "")?;
    Ok(())
}

/// Nothing but what the file sets and what that needs. What the kernel does not
/// know (any more), or what lacks something, would be left out silently.
fn configure(source: &Path, build: &Path, config: &str) -> Result<()> {
    fs::create_dir_all(build)?;
    let from = Path::new(CONFIG).canonicalize()?;
    run(Command::new("make")
        .args(["-s", "-C"])
        .arg(source)
        .arg(format!("O={}", build.display()))
        .arg(format!("KCONFIG_ALLCONFIG={}", from.display()))
        .arg("allnoconfig"))
    .context("cannot configure the debug kernel")?;
    let made = fs::read_to_string(build.join(".config"))?;
    let made: Vec<&str> = made.lines().collect();
    let lost: Vec<_> = config
        .lines()
        .filter(|l| l.starts_with("CONFIG_") && !made.contains(l))
        .collect();
    ensure!(
        lost.is_empty(),
        "{PACKAGE} does not take from {CONFIG}: {}",
        lost.join(", ")
    );
    if made.contains(&"# CONFIG_KASAN is not set") {
        bail!("{CONFIG} has no KASAN");
    }
    Ok(())
}
