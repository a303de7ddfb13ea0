//! `esca serve`: one of the known servers in the foreground, without or with
//! ESCA (the launch targets of the Makefile).

use crate::bench::Config;
use crate::servers;
use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// nginx, lighttpd, redis or lwan (with LWAN=path)
    server: String,
    /// With ESCA
    #[arg(long)]
    esca: bool,
    /// Port on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// Directory for its files
    #[arg(long, default_value = "target/run")]
    dir: PathBuf,
}

pub fn main(args: &Args) -> Result<()> {
    let server = servers::find(&args.server)?;
    std::fs::create_dir_all(&args.dir)
        .with_context(|| format!("cannot make {}", args.dir.display()))?;
    let dir = args.dir.canonicalize()?;
    let mut place = crate::bench::place(&dir, server.name(), &Config::plain())?;
    place.port = args.port;
    let words = server.command(&place)?;
    println!("{} on http://127.0.0.1:{}/", server.name(), args.port);
    println!("files in {}; stop it with Ctrl-C", place.root.display());
    let mut command = if args.esca {
        let mut c = Command::new(std::env::current_exe()?);
        c.args(["run", "--"]).args(&words);
        c
    } else {
        let mut c = Command::new(&words[0]);
        c.args(&words[1..]);
        c
    };
    bail!("cannot run {}: {}", server.name(), command.exec())
}
