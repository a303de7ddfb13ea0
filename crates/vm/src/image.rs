//! The initramfs: a newc archive (initramfs buffer format) of the programs to
//! run, with the libraries that they load.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;

/// An archive in the making.
#[derive(Default)]
pub struct Image {
    bytes: Vec<u8>,
    names: BTreeSet<PathBuf>,
}

impl Image {
    /// An empty one, with the directories that every system has.
    #[must_use]
    pub fn new() -> Image {
        let mut image = Image::default();
        for dir in [
            "dev", "proc", "sys", "run", "tmp", "root", "var/tmp", "var/log",
        ] {
            image.directory(Path::new(dir));
        }
        image
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        let number = self.names.len();
        let head = format!(
            "070701{number:08x}{mode:08x}{zero:08x}{zero:08x}{links:08x}{zero:08x}{size:08x}\
             {zero:08x}{zero:08x}{zero:08x}{zero:08x}{len:08x}{zero:08x}{name}\0",
            links = 1,
            size = content.len(),
            len = name.len() + 1,
            zero = 0,
        );
        self.bytes.extend(head.bytes());
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        let len = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(len, 0);
    }

    /// Notes a name; whether it is new. Its directories come first.
    fn new_name(&mut self, path: &Path) -> bool {
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        self.names.insert(path.into())
    }

    /// Adds a directory, and those above it.
    pub fn directory(&mut self, path: &Path) {
        if path.as_os_str().is_empty() || path == Path::new("/") {
            return;
        }
        let path = path.strip_prefix("/").unwrap_or(path);
        if self.new_name(path) {
            self.entry(&path.to_string_lossy(), DIRECTORY, b"");
        }
    }

    /// Adds a file of these bytes; the first of a name counts.
    pub fn bytes(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = Path::new(path);
        let path = path.strip_prefix("/").unwrap_or(path);
        if self.new_name(path) {
            self.entry(&path.to_string_lossy(), FILE | mode, content);
        }
    }

    /// Adds a file of this machine under a name.
    pub fn file(&mut self, path: &str, from: &Path) -> Result<()> {
        let shown = from.display();
        let content = fs::read(from).with_context(|| format!("cannot read {shown}"))?;
        let mode = fs::metadata(from)?.permissions().mode() & 0o777;
        self.bytes(path, mode | 0o444, &content);
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, to: &str) {
        let path = Path::new(path);
        let path = path.strip_prefix("/").unwrap_or(path);
        if self.new_name(path) {
            self.entry(&path.to_string_lossy(), LINK, to.as_bytes());
        }
    }

    /// Adds a program or library under a name, with the libraries it loads
    /// where it looks for them.
    pub fn program(&mut self, path: &str, from: &Path) -> Result<()> {
        self.file(path, from)?;
        let listed = Command::new("ldd")
            .arg(from)
            .output()
            .context("cannot run ldd")?;
        if !listed.status.success() {
            let said = String::from_utf8_lossy(&listed.stderr);
            let text = String::from_utf8_lossy(&listed.stdout);
            let fixed = said.contains("not a dynamic") || text.contains("statically linked");
            ensure!(fixed, "ldd {}: {said}", from.display());
            return Ok(());
        }
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            ensure!(!line.contains("not found"), "{}: {line}", from.display());
            let mut words = line.split_whitespace();
            if let Some(library) = words.find(|w| w.starts_with('/')) {
                self.file(library, Path::new(library))?;
            }
        }
        Ok(())
    }

    /// Adds a program of this machine's PATH, at the path it has.
    pub fn installed(&mut self, name: &str) -> Result<()> {
        let path = format!(
            "{}:/usr/sbin:/sbin",
            std::env::var("PATH").unwrap_or_default()
        );
        let found = std::env::split_paths(&path)
            .map(|dir| dir.join(name))
            .find(|p| p.is_file())
            .with_context(|| format!("{name} is not installed; 'make setup' installs it"))?;
        let real = found.canonicalize()?;
        self.program(&real.to_string_lossy(), &real)?;
        self.link(&format!("/usr/bin/{name}"), &real.to_string_lossy());
        Ok(())
    }

    /// Adds every file of a directory that ends in `.so`.
    pub fn plugins(&mut self, dir: &Path) -> Result<()> {
        let shown = dir.display();
        for entry in fs::read_dir(dir).with_context(|| format!("cannot read {shown}"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "so") {
                self.file(&path.to_string_lossy(), &path)?;
            }
        }
        Ok(())
    }

    /// Writes the archive.
    pub fn write(mut self, to: &Path) -> Result<()> {
        self.entry("TRAILER!!!", 0, b"");
        let shown = to.display();
        let mut file = fs::File::create(to).with_context(|| format!("cannot write {shown}"))?;
        file.write_all(&self.bytes)?;
        Ok(())
    }
}
