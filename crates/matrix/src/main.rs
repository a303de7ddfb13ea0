//! Runs the compatibility matrix and writes its table.

use clap::Parser;
use esca_matrix::programs::ALL;
use esca_matrix::report::Table;
use esca_matrix::trial;
use std::path::PathBuf;
use std::process::ExitCode;

/// Unmodified Debian programs, without ESCA and under it, bytes compared.
#[derive(Parser)]
#[command(name = "esca-matrix")]
struct Args {
    /// Only programs whose name contains this (may be repeated)
    #[arg(long)]
    only: Vec<String>,
    /// Where the table goes
    #[arg(long)]
    table: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut table = Table::default();
    let (mut good, mut ran) = (true, 0);
    for program in ALL {
        let name = program.name().to_lowercase();
        let chosen = |o: &String| name.contains(&o.to_lowercase());
        if !args.only.is_empty() && !args.only.iter().any(chosen) {
            continue;
        }
        ran += 1;
        match trial::run(*program) {
            Ok(outcomes) => {
                for (policy, outcome) in &outcomes {
                    match outcome {
                        Ok(gain) => {
                            println!("{}, {policy}: same; {}", program.name(), gain.counters)
                        }
                        Err(e) => println!("{}, {policy}: FAILED: {e}", program.name()),
                    }
                    good &= outcome.is_ok();
                }
                table.add(*program, &outcomes);
            }
            Err(e) => {
                eprintln!("esca-matrix: {} fails without ESCA: {e}", program.name());
                table.add_failed(*program, &e);
                good = false;
            }
        }
    }
    if ran == 0 {
        eprintln!("esca-matrix: there is no program of that name");
        return ExitCode::FAILURE;
    }
    if let Some(path) = args.table
        && let Err(e) = std::fs::write(&path, table.text())
    {
        eprintln!("esca-matrix: cannot write {}: {e}", path.display());
        good = false;
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
