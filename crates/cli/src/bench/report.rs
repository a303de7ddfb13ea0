//! Everything that was measured, with the machine: the data file, and CSV.

use super::series::Comparison;
use crate::host::Host;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::Path;

/// What one run of `esca bench` found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The machine.
    pub host: Host,
    /// What the servers say they are.
    pub versions: Vec<String>,
    /// The command that made it.
    pub command: String,
    /// How the figures were made.
    pub method: String,
    /// One for each load.
    pub results: Vec<Comparison>,
}

impl Report {
    /// Reads a data file.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        serde_json::from_str(&text).with_context(|| format!("{name} is no file of esca bench"))
    }

    /// As JSON, a line for each load.
    pub fn json(&self) -> Result<String> {
        let head = Report {
            results: Vec::new(),
            ..self.clone()
        };
        let head = serde_json::to_string_pretty(&head)?;
        let lines = self
            .results
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<Vec<_>, _>>()?;
        let all = format!("\"results\": [\n{}\n]", lines.join(",\n"));
        Ok(head.replace("\"results\": []", &all) + "\n")
    }

    /// As CSV, a line for each slice.
    pub fn csv(&self) -> String {
        let mut out = String::from(
            "server,load,connections,workers,configuration,life,requests_per_s,cpu_us_per_request,\
             context_switches_per_request,segments_per_request,p50_us,p99_us,p999_us,\
             system_calls_per_request,kernel_entries_per_request\n",
        );
        let show = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
        for c in &self.results {
            for s in &c.series {
                for k in &s.slices {
                    // Writing to a String cannot fail.
                    let _ = writeln!(
                        out,
                        "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
                        c.server,
                        c.load.replace(',', ";"),
                        c.connections,
                        c.workers,
                        s.config,
                        k.life,
                        k.rate,
                        k.cpu,
                        k.switches,
                        show(k.segments),
                        show(k.p50),
                        show(k.p99),
                        show(k.p999),
                        show(s.calls),
                        show(s.entries),
                    );
                }
            }
        }
        out
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::compare::tests::comparison;
    use super::*;

    /// A report with one comparison.
    pub fn report() -> Report {
        Report {
            host: Host {
                kernel: "6.1.0 x86_64".into(),
                cpu: "A <CPU>".into(),
                cpus: 2,
                ..Host::default()
            },
            versions: vec!["nginx/1.22.1".into()],
            command: "esca bench".into(),
            method: "as \"results\": [] says".into(),
            results: vec![comparison(), comparison()],
        }
    }

    #[test]
    fn the_data_file_is_read_as_it_was_written() {
        let r = Report {
            method: "plain".into(),
            ..report()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bench.json");
        std::fs::write(&path, r.json().unwrap()).unwrap();
        let again = Report::read(&path).unwrap();
        assert_eq!(again.results.len(), 2);
        assert_eq!(again.host.cpu, "A <CPU>");
        assert_eq!(again.results[0].series[0].slices.len(), 4);
        let cpu =
            |r: &Report| r.results[0].series[1].ratio(&r.results[0].series[0], |s| Some(s.cpu));
        assert_eq!(
            format!("{:.3}", cpu(&again).unwrap().median),
            format!("{:.3}", cpu(&r).unwrap().median)
        );
        assert_eq!(again.json().unwrap(), r.json().unwrap());
    }

    #[test]
    fn what_is_no_data_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        assert!(Report::read(&path).is_err());
        std::fs::write(&path, "{}").unwrap();
        let said = Report::read(&path).unwrap_err().to_string();
        assert!(said.contains("no file of esca bench"), "{said}");
    }

    #[test]
    fn csv_has_a_line_for_each_slice() {
        let text = report().csv();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 2 * 2 * 4);
        let columns = lines[0].split(',').count();
        assert!(lines.iter().all(|l| l.split(',').count() == columns));
        assert!(lines[1].starts_with("nginx,1 KiB,50,1,plain,0,50000,20,"));
    }
}
