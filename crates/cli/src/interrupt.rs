//! Ctrl-C and SIGTERM while measuring: the run in progress ends as an error,
//! so that every server that was started here is ended too.

use anyhow::{Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From here on the signals only leave a note.
pub fn watch() -> Result<()> {
    for s in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(s, ASKED.clone())?;
    }
    Ok(())
}

/// Fails once a signal came.
pub fn check() -> Result<()> {
    if ASKED.load(Relaxed) {
        bail!("interrupted; the servers that were started are ended");
    }
    Ok(())
}
