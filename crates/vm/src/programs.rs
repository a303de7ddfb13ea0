//! Test programs of the workspace that run in the virtual machine as they are,
//! with the programs that they start.

use crate::image::Image;
use crate::kernel::output;
use anyhow::{Context, Result, ensure};
use esca_vm::SUITES;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds them; gives the path of each by its name.
pub fn build() -> Result<BTreeMap<String, PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--tests", "--bins", "--message-format=json"]);
    command.args(["-p", "esca-suite", "-p", "esca-model"]);
    let said = output(&mut command).context("cannot build the suite's tests")?;
    let mut all = BTreeMap::new();
    for line in said.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if let (Some(path), Some(name)) =
            (line["executable"].as_str(), line["target"]["name"].as_str())
        {
            // A program's own unit tests have its name too.
            if line["target"]["kind"][0] == "test" || line["profile"]["test"] == false {
                all.insert(name.to_owned(), PathBuf::from(path));
            }
        }
    }
    Ok(all)
}

/// Puts them into the image: the tests under their names, what they start at
/// the path where they look for it.
pub fn add(image: &mut Image, built: &BTreeMap<String, PathBuf>) -> Result<()> {
    for name in SUITES {
        let from = built.get(name);
        let from = from.with_context(|| format!("cargo built no test {name}"))?;
        image.program(&format!("/tests/{name}"), from)?;
    }
    for name in ["actor", "esca-model", "model-actor"] {
        let from = built.get(name);
        let from = from.with_context(|| format!("cargo built no program {name}"))?;
        ensure!(from.is_absolute(), "{} is no absolute path", from.display());
        image.program(&from.to_string_lossy(), from)?;
    }
    // What tests of theirs start, where Debian has it.
    for program in ["echo", "sh", "cat"] {
        image.installed(program)?;
    }
    image.link("/bin", "/usr/bin");
    let model = &built["esca-model"];
    image.link("/tests/esca-model", &model.to_string_lossy());
    let library = Path::new("target/release/libesca_preload.so").canonicalize()?;
    image.link(&library.to_string_lossy(), esca_vm::LIBRARY);
    Ok(())
}
