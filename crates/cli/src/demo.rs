//! `esca demo`: one server of this machine, without and with ESCA.

use crate::pairs::{Plan, compare, place, progress, verify};
use crate::{host, servers, table};
use anyhow::{Result, ensure};

#[derive(clap::Args)]
pub struct Args {
    /// nginx, lighttpd or redis
    #[arg(default_value = "nginx")]
    server: String,
    /// off, coalesce or batch
    #[arg(long, default_value = "coalesce")]
    policy: String,
    /// Pairs of runs
    #[arg(long, default_value_t = 5)]
    pairs: usize,
}

pub fn main(args: &Args) -> Result<()> {
    let server = servers::find(&args.server)?;
    let own = host::own_network();
    crate::interrupt::watch()?;
    println!("An unmodified {} without and with ESCA.\n", server.name());
    host::Host::look(own).print();
    let dir = tempfile::tempdir()?;
    let at = place(dir.path(), server)?;
    verify(server, &at, &args.policy)?;
    println!("bytes       the same without and with ESCA\n");
    let loads = &server.loads()[..server.loads().len().min(2)];
    // Two loads stay under 90 seconds with all their starts and warm-ups.
    let plan = Plan {
        pairs: args.pairs,
        seconds: 2.0,
        count: true,
    };
    let bar = progress(loads.len() * plan.pairs * 2);
    let mut all = Vec::new();
    for load in loads {
        let c = compare(server, dir.path(), load, &args.policy, plan, &bar)?;
        ensure!(
            c.aggregated > 0 || args.server != "nginx",
            "nothing was aggregated: the library did not work"
        );
        all.push(c);
    }
    bar.finish_and_clear();
    for c in &all {
        println!("{} {}   {}", c.server, c.load, c.command);
        println!("{}\n", table::detail(c));
    }
    println!(
        "{} interleaved pairs of {} s; medians; the ratio is the median of the pairs' ratios.",
        plan.pairs, plan.seconds
    );
    println!(
        "Segments count both directions. CPU is the server's, from /proc/PID/task/*/schedstat."
    );
    Ok(())
}
