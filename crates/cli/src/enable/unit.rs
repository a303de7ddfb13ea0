//! A unit of systemd as its files say: the unit and its drop-ins, in
//! systemd's order (systemd.unit(5), systemd.syntax(7)).

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where units stand, the later below the earlier.
const PLACES: &[&str] = &[
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// The full name of the service that a user means.
pub fn name(given: &str) -> Result<String> {
    if given.is_empty() || given.contains('/') {
        bail!("'{given}' is no unit's name; give one such as nginx.service");
    }
    match given.rsplit_once('.') {
        None => Ok(format!("{given}.service")),
        Some((_, "service")) => Ok(given.into()),
        Some((_, "socket" | "timer" | "target" | "path" | "mount" | "slice" | "scope")) => {
            bail!("{given} is not a service; name the service that it starts")
        }
        Some(_) => Ok(format!("{given}.service")),
    }
}

/// The `[Service]` section: each key's assignments in order.
#[derive(Default)]
pub struct Unit {
    pub name: String,
    keys: BTreeMap<String, Vec<String>>,
}

impl Unit {
    /// Reads `name` of the system at `root`.
    pub fn find(root: &Path, name: &str) -> Result<Self> {
        let mut unit = Unit {
            name: name.into(),
            ..Unit::default()
        };
        // An instance has its template's file.
        let template = name.split_once('@').map(|(t, _)| format!("{t}@.service"));
        let names: Vec<&str> = [Some(name), template.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        let files = names
            .iter()
            .flat_map(|n| PLACES.iter().map(move |p| root.join(p).join(n)));
        let Some(file) = files.into_iter().find(|f| f.exists()) else {
            let places = PLACES.iter().map(|p| root.join(p).display().to_string());
            let places: Vec<_> = places.collect();
            bail!(
                "there is no unit {name} in {}; 'systemctl list-units --type=service' has their \
                 names",
                places.join(", ")
            );
        };
        unit.read(&file)?;
        let mut drop_ins = BTreeMap::new();
        // A name in an earlier place hides the same in a later one.
        for place in PLACES.iter().rev() {
            for n in &names {
                let dir = root.join(place).join(format!("{n}.d"));
                for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                    let path = entry.path();
                    if path.extension().is_some_and(|e| e == "conf") {
                        drop_ins.insert(entry.file_name(), path);
                    }
                }
            }
        }
        // Not our own from before.
        drop_ins.remove(std::ffi::OsStr::new(super::NAME));
        for path in drop_ins.values() {
            unit.read(path)?;
        }
        Ok(unit)
    }

    fn read(&mut self, file: &Path) -> Result<()> {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        self.parse(&text);
        Ok(())
    }

    fn parse(&mut self, text: &str) {
        let mut service = false;
        let mut whole = String::new();
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(part) = line.strip_suffix('\\') {
                whole.push_str(part);
                whole.push(' ');
                continue;
            }
            whole.push_str(line);
            let line = std::mem::take(&mut whole);
            if line.starts_with('[') {
                service = line == "[Service]";
            } else if let (true, Some((key, value))) = (service, line.split_once('=')) {
                let all = self.keys.entry(key.trim().into()).or_default();
                match value.trim() {
                    // An empty assignment takes back what came before.
                    "" => all.clear(),
                    v => all.push(v.into()),
                }
            }
        }
    }

    /// Every assignment of `key`, in order.
    pub fn all(&self, key: &str) -> &[String] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// The words of all assignments of `key`.
    pub fn words(&self, key: &str) -> Vec<&str> {
        let all = self.all(key).iter();
        all.flat_map(|v| v.split_whitespace()).collect()
    }

    /// The last assignment of `key`.
    pub fn last(&self, key: &str) -> Option<&str> {
        self.all(key).last().map(String::as_str)
    }

    /// Whether the last assignment of `key` is a yes.
    pub fn is_on(&self, key: &str) -> bool {
        self.last(key)
            .is_some_and(|v| matches!(v.to_lowercase().as_str(), "yes" | "true" | "on" | "1"))
    }

    /// The program of ExecStart, if it is named by a path.
    pub fn program(&self) -> Option<String> {
        let line = self.last("ExecStart")?;
        let word = line.trim_start_matches(['@', '-', ':', '+', '!']);
        let word = word.split_whitespace().next()?.trim_matches('"');
        word.starts_with('/').then(|| word.into())
    }

    /// The value that Environment= gives `variable`.
    pub fn variable(&self, variable: &str) -> Option<&str> {
        let words = self.words("Environment").into_iter();
        words
            .filter_map(|w| w.trim_matches('"').split_once('='))
            .filter(|(n, _)| *n == variable)
            .map(|(_, v)| v)
            .next_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_add_up_and_are_taken_back() {
        let mut u = Unit::default();
        u.parse(
            "[Unit]\nExecPaths=/no\n[Service]\n# ExecPaths=/no\nExecPaths=/a \\\n /b\n\
             Environment=A=1 \"LD_PRELOAD=/x.so\"\nPrivateDevices=true\n\
             ExecStart=-/usr/sbin/nginx -g 'x'\n",
        );
        assert_eq!(u.words("ExecPaths"), ["/a", "/b"]);
        assert_eq!(u.variable("LD_PRELOAD"), Some("/x.so"));
        assert_eq!(u.program().as_deref(), Some("/usr/sbin/nginx"));
        assert!(u.is_on("PrivateDevices") && !u.is_on("ProtectHome"));
        u.parse("[Service]\nExecPaths=\nExecPaths=/c\nPrivateDevices=no\n");
        assert_eq!(u.words("ExecPaths"), ["/c"]);
        assert!(!u.is_on("PrivateDevices"));
    }

    #[test]
    fn names() {
        assert_eq!(name("nginx").unwrap(), "nginx.service");
        assert_eq!(name("php8.2-fpm").unwrap(), "php8.2-fpm.service");
        assert_eq!(name("a@b.service").unwrap(), "a@b.service");
        assert!(name("nginx.socket").is_err() && name("../x").is_err());
    }
}
