//! Any server command of the user's.

use super::{Load, Place, Server};
use crate::client::Exchange;
use anyhow::{Result, ensure};
use std::ffi::OsString;

/// A command with `{port}` where its port goes; `{workers}` may be in it too.
pub struct Custom {
    words: Vec<String>,
    path: String,
    name: String,
}

impl Custom {
    /// `path` is what is asked of it.
    pub fn new(words: &[String], path: &str) -> Result<Self> {
        ensure!(
            words.iter().any(|w| w.contains("{port}")),
            "several of the server run at once: write {{port}} where its port goes"
        );
        let program = words[0].rsplit('/').next().unwrap_or_default();
        Ok(Custom {
            words: words.to_vec(),
            path: path.into(),
            name: program.into(),
        })
    }
}

impl Server for Custom {
    fn name(&self) -> &str {
        &self.name
    }

    fn command(&self, place: &Place) -> Result<Vec<OsString>> {
        let fill = |w: &String| {
            w.replace("{port}", &place.port.to_string())
                .replace("{workers}", &place.workers.to_string())
                .into()
        };
        Ok(self.words.iter().map(fill).collect())
    }

    /// What it should answer is not known: the client compares its answers
    /// with one another.
    fn verify(&self, _place: &Place, _loads: &[&str]) -> Result<()> {
        Ok(())
    }

    fn load(&self, what: &str) -> Load {
        Load {
            name: what.into(),
            exchange: Exchange::get(&self.path, None),
            connections: 50,
            path: self.path.clone(),
        }
    }

    fn loads(&self) -> &'static [&'static str] {
        &["requests"]
    }

    fn version_flag(&self) -> &'static str {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_wanted() {
        let words = |t: &str| t.split(' ').map(String::from).collect::<Vec<_>>();
        assert!(Custom::new(&words("/usr/bin/server -p 80"), "/").is_err());
        let c = Custom::new(&words("/usr/bin/server -p {port}"), "/x").unwrap();
        assert_eq!(c.name(), "server");
        assert_eq!(c.load("requests").path, "/x");
    }
}
