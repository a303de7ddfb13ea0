//! Debian's cloud kernels: downloaded through apt and unpacked, not installed.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernels that are tested, newest first: a name for the command line and
/// the package that depends on the current one.
pub const KNOWN: [(&str, &str); 2] = [
    ("6.12", "linux-image-6.12-cloud-amd64"),
    ("6.1", "linux-image-cloud-amd64"),
];

/// An unpacked kernel.
pub struct Kernel {
    /// Its name on the command line.
    pub name: String,
    /// Its release, e.g. `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// What to boot.
    pub image: PathBuf,
    /// What to build modules with.
    pub headers: PathBuf,
}

/// Gets a kernel, from `dir` where it was unpacked before.
pub fn get(name: &str, dir: &Path) -> Result<Kernel> {
    let known: Vec<_> = KNOWN.iter().map(|k| k.0).collect();
    let meta = KNOWN
        .iter()
        .find(|k| k.0 == name)
        .with_context(|| format!("unknown kernel '{name}'; known: {}", known.join(", ")))?;
    let image = match dependency(meta.1, "linux-image-") {
        Ok(image) => image,
        Err(first) => {
            // A fresh machine has no package lists.
            run(Command::new("apt-get").args(["update", "-q"])).context(
                "apt-get update failed; the virtual machine's kernels come from Debian's archive",
            )?;
            dependency(meta.1, "linux-image-").map_err(|e| e.context(first))?
        }
    };
    let release = image.trim_start_matches("linux-image-").to_owned();
    let root = dir.join(&release);
    if !root.join("complete").exists() {
        unpack(&image, &release, &root)?;
    }
    let kernel = Kernel {
        name: name.into(),
        image: root.join(format!("boot/vmlinuz-{release}")),
        headers: root.join(format!("usr/src/linux-headers-{release}")),
        release,
    };
    for path in [&kernel.image, &kernel.headers] {
        let shown = root.display();
        ensure!(
            path.exists(),
            "{shown} is incomplete; remove it and try again"
        );
    }
    Ok(kernel)
}

/// The one package with this prefix that a package depends on.
fn dependency(package: &str, prefix: &str) -> Result<String> {
    let shown = output(Command::new("apt-cache").args(["depends", package]))
        .with_context(|| format!("apt knows no package {package}"))?;
    let found = shown
        .lines()
        .filter_map(|l| l.trim().strip_prefix("Depends: "))
        .find(|p| p.starts_with(prefix));
    let found = found.with_context(|| format!("{package} depends on no {prefix}*:\n{shown}"))?;
    Ok(found.to_owned())
}

/// Downloads and unpacks image and headers.
fn unpack(image: &str, release: &str, root: &Path) -> Result<()> {
    let headers = format!("linux-headers-{release}");
    let packages = [
        image.to_owned(),
        dependency(&headers, "linux-headers-")?,
        dependency(&headers, "linux-kbuild-")?,
        headers.clone(),
    ];
    let debs = root.join("debs");
    fs::create_dir_all(&debs).with_context(|| format!("cannot make {}", debs.display()))?;
    eprintln!("esca-vm: getting {} from Debian", packages.join(" "));
    let mut get = Command::new("apt-get");
    // As root, apt fetches as its own user, who cannot write everywhere.
    get.args(["-q", "-o", "APT::Sandbox::User=root", "download"]);
    run(get.args(&packages).current_dir(&debs)).context("cannot download the kernel")?;
    for deb in fs::read_dir(&debs)? {
        run(Command::new("dpkg").arg("-x").arg(deb?.path()).arg(root))?;
    }
    // The headers name each other by where they would be installed.
    let makefile = root.join("usr/src").join(&headers).join("Makefile");
    let text = fs::read_to_string(&makefile)
        .with_context(|| format!("cannot read {}", makefile.display()))?;
    let here = format!("include {}/usr/src/", root.canonicalize()?.display());
    let fixed = text.replace("include /usr/src/", &here);
    if fixed == text {
        bail!("{} is not as expected:\n{text}", makefile.display());
    }
    fs::write(&makefile, fixed)?;
    fs::remove_dir_all(&debs)?;
    fs::write(root.join("complete"), "")?;
    Ok(())
}

/// Runs a command that must succeed; what it says is shown only if it fails.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// The same; its output.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let done = command
        .output()
        .with_context(|| format!("cannot run {program}; 'make setup-vm' installs it"))?;
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    let err = String::from_utf8_lossy(&done.stderr);
    let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    ensure!(
        done.status.success(),
        "'{program} {}' failed: {}\n{out}{err}",
        args.join(" "),
        done.status
    );
    Ok(out)
}
