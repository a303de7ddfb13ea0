//! What is to be measured: loads of servers, sweeps over an axis, and the
//! configurations that a server and this machine have.

use super::compare::Job;
use super::config::Config;
use crate::servers::{self, Server};
use crate::workload::SIZES;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::str::FromStr;

/// What is measured when nothing is named.
const DEFAULT: &[&str] = &["nginx", "lighttpd", "redis", "pingpong"];

/// An axis and the places on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    axis: String,
    values: Vec<u32>,
}

impl FromStr for Sweep {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (axis, values) = text
            .split_once('=')
            .context("write it as axis=value,value")?;
        ensure!(
            ["size", "connections", "workers"].contains(&axis),
            "the axes are size, connections and workers"
        );
        let values = values.split(',').map(str::parse::<u32>);
        let values = values.collect::<Result<Vec<_>, _>>()?;
        for v in &values {
            let known = match axis {
                "size" => SIZES.contains(&(*v as usize)),
                "connections" => (1..=1000).contains(v),
                _ => (1..=64).contains(v),
            };
            ensure!(
                known,
                "{axis} {v}: sizes are {SIZES:?} KiB, connections 1 to 1000, workers 1 to 64"
            );
        }
        Ok(Sweep {
            axis: axis.into(),
            values,
        })
    }
}

/// The loads named, `server` or `server:load`; all of the usual ones if none.
pub fn of_names<'a>(names: &[String], dir: &'a Path) -> Result<Vec<Job<'a>>> {
    let names: Vec<&str> = match names {
        [] => DEFAULT.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    let mut jobs = Vec::new();
    for name in names {
        let (name, load) = name.split_once(':').unwrap_or((name, ""));
        let server = servers::find(name)?;
        let loads = server.loads().iter();
        let loads: Vec<_> = loads.filter(|l| load.is_empty() || **l == load).collect();
        if loads.is_empty() {
            bail!(
                "{name} has no load '{load}'; it has: {}",
                server.loads().join(", ")
            );
        }
        jobs.extend(loads.iter().map(|l| Job::new(server, dir, l)));
    }
    Ok(jobs)
}

/// The jobs at each place of the axes; the jobs themselves without an axis.
/// The sizes replace the loads of a server, so each server is taken once.
pub fn swept<'a>(jobs: Vec<Job<'a>>, sweeps: &[Sweep]) -> Result<Vec<Job<'a>>> {
    if sweeps.is_empty() {
        return Ok(jobs);
    }
    let mut all = Vec::new();
    for sweep in sweeps {
        let mut seen = Vec::new();
        for job in &jobs {
            let name = job.server.name();
            let sizes = sweep.axis == "size";
            if sizes && (seen.contains(&name) || !job.server.loads().contains(&"1 KiB")) {
                continue;
            }
            seen.push(name);
            for v in &sweep.values {
                let what = match sizes {
                    true => format!("{v} KiB"),
                    false => job.load.name.clone(),
                };
                let mut next = Job::new(job.server, job.dir, &what);
                match sweep.axis.as_str() {
                    "connections" => next.load.connections = *v,
                    "workers" => next.workers = *v,
                    _ => {}
                }
                if !sizes {
                    let axis = match v {
                        1 => sweep.axis.trim_end_matches('s'),
                        _ => &sweep.axis,
                    };
                    next.load.name = format!("{what}, {v} {axis}");
                }
                next.sweep = Some((sweep.axis.clone(), *v));
                all.push(next);
            }
        }
    }
    ensure!(!all.is_empty(), "none of the servers serves files");
    Ok(all)
}

/// The configurations to compare: those named that the server has, or all that
/// it and this machine have.
pub fn configs(server: &dyn Server, named: &[Config]) -> Vec<Config> {
    let all = if named.is_empty() {
        usual()
    } else {
        named.to_vec()
    };
    let has = |c: &Config| server.has_tuning() || !c.tuned;
    all.into_iter().filter(has).collect()
}

fn usual() -> Vec<Config> {
    let mut names = vec!["plain", "coalesce", "batch"];
    if Path::new("/dev/esca").exists() {
        names.push("batch/kmod");
    }
    names.extend(["batch/uring", "tuned", "tuned+coalesce"]);
    // A backend that this build lacks is refused, and left out.
    names.iter().filter_map(|n| Config::parse(n).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_are_read() {
        let s: Sweep = "size=1,20,200".parse().unwrap();
        assert_eq!(
            (s.axis.as_str(), s.values.as_slice()),
            ("size", &[1, 20, 200][..])
        );
        for text in [
            "size",
            "size=",
            "size=3",
            "connections=0",
            "color=1",
            "workers=99",
        ] {
            assert!(text.parse::<Sweep>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_become_jobs() {
        let dir = Path::new("/nowhere");
        let names = |n: &[&str]| n.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(of_names(&[], dir).unwrap().len() > 8);
        let one = of_names(&names(&["nginx:20 KiB"]), dir).unwrap();
        assert_eq!((one.len(), one[0].load.name.as_str()), (1, "20 KiB"));
        let said = of_names(&names(&["nginx:3 KiB"]), dir).err().unwrap();
        assert!(said.to_string().contains("100 KiB"));
    }

    #[test]
    fn sweeps_multiply() {
        let dir = Path::new("/nowhere");
        let jobs = |n: &str| of_names(&[n.to_string()], dir).unwrap();
        let sizes = swept(jobs("nginx"), &["size=1,40".parse().unwrap()]).unwrap();
        let names: Vec<_> = sizes.iter().map(|j| j.load.name.as_str()).collect();
        assert_eq!(names, ["1 KiB", "40 KiB"]);
        let axes = [
            "connections=1,1000".parse().unwrap(),
            "workers=2".parse().unwrap(),
        ];
        let all = swept(jobs("nginx:1 KiB"), &axes).unwrap();
        let all: Vec<_> = all
            .iter()
            .map(|j| (j.load.connections, j.workers))
            .collect();
        assert_eq!(all, [(1, 1), (1000, 1), (50, 2)]);
        assert!(swept(jobs("redis"), &["size=1".parse().unwrap()]).is_err());
    }

    #[test]
    fn a_server_without_tuning_has_no_tuned_configuration() {
        let nginx = servers::find("nginx").unwrap();
        let redis = servers::find("redis").unwrap();
        let tuned = |s| configs(s, &[]).iter().any(|c| c.tuned);
        assert!(tuned(nginx) && !tuned(redis));
        assert_eq!(configs(nginx, &[])[0], Config::plain());
    }
}
