//! What is compared: the plain server, its hand-tuned configuration, and each
//! of them with ESCA.

use anyhow::{Context, Result, ensure};
use esca_engine::settings::Settings;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One configuration of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The server's hand-tuned configuration.
    pub tuned: bool,
    /// With the preload library and this policy.
    pub policy: Option<String>,
    /// Its backend; the library's choice if none is named.
    pub backend: Option<String>,
}

impl Config {
    /// The server as it is.
    pub fn plain() -> Self {
        Self::default()
    }

    /// With ESCA.
    pub fn esca(policy: &str) -> Result<Self> {
        Self::parse(policy)
    }

    /// `plain`, `tuned`, `POLICY[/BACKEND]`, `tuned+POLICY[/BACKEND]`.
    pub fn parse(text: &str) -> Result<Self> {
        let (tuned, rest) = match text.strip_prefix("tuned") {
            Some("") => (true, ""),
            Some(more) => (
                true,
                more.strip_prefix('+')
                    .with_context(|| format!("unknown configuration '{text}'"))?,
            ),
            None => (false, text),
        };
        if rest.is_empty() || rest == "plain" {
            ensure!(!text.is_empty(), "a configuration without a name");
            return Ok(Config {
                tuned,
                ..Self::plain()
            });
        }
        let (policy, backend) = match rest.split_once('/') {
            Some((p, b)) => (p, Some(b)),
            None => (rest, None),
        };
        Settings::from_values(Some(policy), None, backend)
            .map_err(|e| anyhow::anyhow!("configuration '{text}': {e}"))?;
        Ok(Config {
            tuned,
            policy: Some(policy.into()),
            backend: backend.map(String::from),
        })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Some(policy) = &self.policy else {
            return f.write_str(if self.tuned { "tuned" } else { "plain" });
        };
        if self.tuned {
            f.write_str("tuned+")?;
        }
        f.write_str(policy)?;
        match &self.backend {
            Some(b) => write!(f, "/{b}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in [
            "plain",
            "tuned",
            "coalesce",
            "batch/direct",
            "tuned+coalesce",
        ] {
            assert_eq!(Config::parse(text).unwrap().to_string(), text);
        }
        let c = Config::parse("tuned+batch/direct").unwrap();
        assert!(c.tuned);
        assert_eq!(c.policy.as_deref(), Some("batch"));
        assert_eq!(c.backend.as_deref(), Some("direct"));
    }

    #[test]
    fn unknown_names_are_refused() {
        for text in ["", "fast", "tunedx", "tuned+fast", "batch/magic"] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
    }
}
