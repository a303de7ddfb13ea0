//! lighttpd's own tests: requests of every kind, conditions, FastCGI, SCGI.

use super::{Suite, compile, perl_tests, printed};
use crate::outcome::Outcome;
use crate::tap;
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// The suite.
pub struct Lighttpd;

impl Suite for Lighttpd {
    fn source(&self) -> &'static str {
        "lighttpd"
    }

    fn package(&self) -> &'static str {
        "lighttpd"
    }

    fn program(&self) -> &'static str {
        "/usr/sbin/lighttpd"
    }

    fn prepare(&self, tree: &Path) -> Result<()> {
        // The two servers behind it, of which there is no package.
        compile(tree, "tests/fcgi-responder.c")?;
        compile(tree, "tests/scgi-responder.c")
    }

    fn launcher(&self) -> &'static str {
        "tests/esca-lighttpd"
    }

    fn units(&self, tree: &Path, _small: bool) -> Result<Vec<String>> {
        // All of it takes seconds.
        perl_tests(&tree.join("tests"))
    }

    fn run(&self, tree: &Path, unit: &str, _place: u16) -> Result<Outcome> {
        let tests = tree.join("tests");
        printed(Command::new("./prepare.sh").current_dir(&tests))?;
        let text = printed(
            Command::new("perl")
                .arg(format!("./{unit}"))
                .env("LIGHTTPD_EXE_PATH", tree.join(self.launcher()))
                .current_dir(&tests),
        )?;
        Ok(tap::parse(unit, &text))
    }

    fn aggregates(&self, _policy: &str) -> bool {
        true
    }
}
