//! `esca enable` and `esca disable`: ESCA for a systemd service, as a drop-in
//! that fits what the unit forbids. Units are read as files: systemd need not
//! run.

mod dropin;
mod unit;

use anyhow::{Context, Result, bail};
use esca_engine::settings::Settings;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where the package puts the library: units may execute from there.
const INSTALLED: &str = "/usr/lib/esca/libesca_preload.so";
/// The drop-in's name: behind most of others, before an administrator's 90-.
const NAME: &str = "50-esca.conf";

#[derive(clap::Args)]
pub struct EnableArgs {
    /// The service, e.g. nginx.service
    unit: String,
    /// Policy for it: off, coalesce (default), batch or watch
    #[arg(long)]
    policy: Option<String>,
    /// Rules for it, e.g. `-cork`
    #[arg(long, allow_hyphen_values = true)]
    rules: Option<String>,
    /// Backend for it
    #[arg(long)]
    backend: Option<String>,
    /// The library, as the service sees it
    #[arg(long, value_name = "FILE", default_value = INSTALLED)]
    library: PathBuf,
    /// Show the drop-in and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The system's root directory
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

#[derive(clap::Args)]
pub struct DisableArgs {
    /// The service, e.g. nginx.service
    unit: String,
    /// Say what would be removed and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// The system's root directory
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// What goes into the drop-in beside the library.
pub struct Chosen<'a> {
    library: &'a Path,
    variables: Vec<(&'static str, &'a str)>,
    /// The kernel module's device is there or was asked for.
    device: bool,
}

pub fn enable(args: &EnableArgs) -> Result<()> {
    let (p, r, b) = (&args.policy, &args.rules, &args.backend);
    Settings::from_values(p.as_deref(), r.as_deref(), b.as_deref())?;
    let name = unit::name(&args.unit)?;
    let unit = unit::Unit::find(&args.root, &name)?;
    let seen = below(&args.root, &args.library);
    if !args.library.is_absolute() || !seen.is_file() {
        bail!(
            "{} is no file; install ESCA's package, or name the library with --library",
            seen.display()
        );
    }
    let variables = [("ESCA_POLICY", p), ("ESCA_RULES", r), ("ESCA_BACKEND", b)];
    let chosen = Chosen {
        library: &args.library,
        variables: variables
            .into_iter()
            .filter_map(|(n, v)| Some((n, v.as_deref()?)))
            .collect(),
        device: b.as_deref() == Some("kmod") || below(&args.root, Path::new("/dev/esca")).exists(),
    };
    if let Some(program) = unit.program() {
        let at = below(&args.root, Path::new(&program));
        if at.is_file() {
            crate::run::check_program(&at).map_err(anyhow::Error::msg)?;
        }
    }
    let text = dropin::render(&unit, &chosen)?;
    let file = place(&args.root, &name);
    refuse_foreign(&file)?;
    if args.dry_run {
        println!("# {}", file.display());
        print!("{text}");
        return Ok(());
    }
    let dir = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    crate::stats::replace(&file, text.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("wrote {}", file.display());
    for note in text.lines().filter_map(|l| l.strip_prefix("# Note: ")) {
        println!("note: {note}");
    }
    println!("now:   systemctl daemon-reload && systemctl restart {name}");
    println!("check: esca stat $(systemctl show -P MainPID {name}) --once");
    Ok(())
}

pub fn disable(args: &DisableArgs) -> Result<()> {
    let name = unit::name(&args.unit)?;
    let file = place(&args.root, &name);
    if !file.exists() {
        bail!("{name} is not enabled: there is no {}", file.display());
    }
    refuse_foreign(&file)?;
    if args.dry_run {
        println!("would remove {}", file.display());
        return Ok(());
    }
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    if let Some(dir) = file.parent() {
        match fs::remove_dir(dir) {
            // Others have drop-ins there.
            Err(e) if e.kind() != ErrorKind::DirectoryNotEmpty => {
                eprintln!("esca: cannot remove {}: {e}", dir.display());
            }
            _ => {}
        }
    }
    println!("removed {}", file.display());
    println!("now: systemctl daemon-reload && systemctl restart {name}");
    Ok(())
}

fn place(root: &Path, name: &str) -> PathBuf {
    below(
        root,
        &Path::new("/etc/systemd/system").join(format!("{name}.d")),
    )
    .join(NAME)
}

/// An absolute path of a system, below that system's root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// A file that somebody else wrote is theirs.
fn refuse_foreign(file: &Path) -> Result<()> {
    match fs::read_to_string(file) {
        Ok(t) if !t.starts_with(dropin::MARK) => bail!(
            "{} was not written by 'esca enable' and stays as it is; move it away first",
            file.display()
        ),
        _ => Ok(()),
    }
}
