//! `esca demo`: one server of this machine, without and with ESCA.

use super::compare::{Job, Plan, compare, verify};
use super::config::Config;
use super::{bar, table};
use crate::{host, servers};
use anyhow::{Result, ensure};

#[derive(clap::Args)]
pub struct Args {
    /// nginx, lighttpd or redis
    #[arg(default_value = "nginx")]
    server: String,
    /// off, coalesce or batch
    #[arg(long, default_value = "coalesce")]
    policy: String,
    /// Most rounds for each load
    #[arg(long, default_value_t = 48)]
    rounds: usize,
}

pub fn main(args: &Args) -> Result<()> {
    let server = servers::find(&args.server)?;
    let configs = [Config::plain(), Config::esca(&args.policy)?];
    let own = host::own_network();
    crate::interrupt::watch()?;
    println!("An unmodified {} without and with ESCA.\n", server.name());
    host::Host::look(own).print();
    let dir = tempfile::tempdir()?;
    let loads: Vec<&str> = server.loads().iter().take(2).copied().collect();
    for config in &configs {
        verify(server, dir.path(), config, &loads)?;
    }
    println!("bytes       the same without and with ESCA\n");
    // Two loads stay under 90 seconds with all their starts and warm-ups.
    let plan = Plan {
        slice: 0.3,
        life: 6,
        least: 12,
        most: args.rounds.max(1),
        tolerance: 0.01,
        client: None,
    };
    let bar = bar(loads.len() * plan.most);
    let mut all = Vec::new();
    for name in loads {
        let job = Job::new(server, dir.path(), name);
        let c = compare(&job, &configs, &plan, &bar)?;
        ensure!(
            c.series[1].aggregated > 0 || args.server != "nginx",
            "nothing was aggregated: the library did not work"
        );
        all.push(c);
    }
    bar.finish_and_clear();
    for c in &all {
        println!("{} {}, {} connections", c.server, c.load, c.connections);
        println!("{}\n", table::detail(c));
    }
    println!("{}", super::method(&plan, &all));
    Ok(())
}
