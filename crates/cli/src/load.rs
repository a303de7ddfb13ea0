//! Load generators: the command, and what its output says.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};

/// What a load measured. Latencies are in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Outcome {
    /// Requests answered.
    pub requests: f64,
    /// Requests a second.
    pub rate: f64,
    /// Median latency.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// A load to be run.
pub struct Load {
    words: Vec<String>,
    parse: fn(&str, f64) -> Result<Outcome>,
    /// Requests, where the tool is told a number of them.
    count: f64,
}

impl Load {
    /// wrk with one thread.
    pub fn wrk(url: &str, connections: u32, seconds: f64) -> Self {
        let s = seconds.ceil().max(1.0);
        let words = format!("wrk -t1 -c{connections} -d{s}s --latency {url}");
        Self::new(&words, parse_wrk, 0.0)
    }

    /// redis-benchmark; it takes a count, so the time is a guess from usual
    /// rates.
    pub fn redis(port: u16, test: &str, pipeline: u32, clients: u32, seconds: f64) -> Self {
        let per_second = if pipeline > 1 { 500_000.0 } else { 60_000.0 };
        let n = (per_second * seconds).max(1000.0).round();
        let words = format!(
            "redis-benchmark -h 127.0.0.1 -p {port} -c {clients} -P {pipeline} -n {n} -t {test} --csv"
        );
        Self::new(&words, parse_redis, n)
    }

    /// This program's own client.
    pub fn pingpong(port: u16, seconds: f64) -> Self {
        let exe = std::env::current_exe().unwrap_or_default();
        let mut load = Self::new("", parse_pingpong, 0.0);
        load.words = vec![
            exe.to_string_lossy().into_owned(),
            "pingpong-client".into(),
            port.to_string(),
            seconds.to_string(),
        ];
        load
    }

    fn new(words: &str, parse: fn(&str, f64) -> Result<Outcome>, count: f64) -> Self {
        Load {
            words: words.split_whitespace().map(String::from).collect(),
            parse,
            count,
        }
    }

    /// The command, as one would type it.
    pub fn shown(&self) -> String {
        self.words.join(" ")
    }

    /// Runs it to its end.
    pub fn run(&self) -> Result<Outcome> {
        let out = Command::new(&self.words[0])
            .args(&self.words[1..])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("cannot run {}; 'make setup' installs it", self.words[0]))?;
        let text = String::from_utf8_lossy(&out.stdout);
        ensure!(
            out.status.success(),
            "'{}' failed: {}",
            self.shown(),
            String::from_utf8_lossy(&out.stderr).trim()
        );
        (self.parse)(&text, self.count)
            .with_context(|| format!("'{}' printed:\n{text}", self.shown()))
    }
}

fn parse_wrk(text: &str, _: f64) -> Result<Outcome> {
    for bad in ["Socket errors:", "Non-2xx"] {
        if let Some(line) = text.lines().find(|l| l.contains(bad)) {
            bail!("wrk met errors: {}", line.trim());
        }
    }
    let line = |key: &str| {
        text.lines()
            .map(str::trim)
            .find(|l| l.contains(key))
            .with_context(|| format!("no line with '{key}'"))
    };
    let first = |l: &str| l.split_whitespace().next().map(String::from);
    let last = |l: &str| l.split_whitespace().last().map(String::from);
    let percent = |key: &str| -> Result<f64> {
        let l = text.lines().map(str::trim).find(|l| l.starts_with(key));
        time(&l.and_then(last).with_context(|| format!("no {key}"))?)
    };
    Ok(Outcome {
        requests: first(line(" requests in ")?).context("no count")?.parse()?,
        rate: last(line("Requests/sec:")?).context("no rate")?.parse()?,
        p50: percent("50%")?,
        p99: percent("99%")?,
    })
}

/// A time as wrk prints it, in microseconds.
fn time(s: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("m", 60e6), ("s", 1e6)] {
        if let Some(n) = s.strip_suffix(unit) {
            return Ok(n.parse::<f64>()? * factor);
        }
    }
    bail!("'{s}' is no time")
}

fn parse_redis(text: &str, count: f64) -> Result<Outcome> {
    let row = text
        .lines()
        .rfind(|l| l.starts_with('"') && !l.starts_with("\"test\""))
        .context("no row of figures")?;
    let f: Vec<&str> = row.split(',').map(|c| c.trim_matches('"')).collect();
    ensure!(f.len() >= 8, "a row of {} columns", f.len());
    Ok(Outcome {
        requests: count,
        rate: f[1].parse()?,
        p50: f[4].parse::<f64>()? * 1e3,
        p99: f[6].parse::<f64>()? * 1e3,
    })
}

fn parse_pingpong(text: &str, _: f64) -> Result<Outcome> {
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 2s test @ http://127.0.0.1:8081/a1.html
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.25ms    1.23ms  15.36ms   80.35%
    Req/Sec    21.79k     3.53k   31.50k    70.00%
  Latency Distribution
     50%  712.00us
     75%    1.35ms
     90%    2.00ms
     99%    3.17ms
  43330 requests in 2.01s, 52.19MB read
Requests/sec:  21601.73
Transfer/sec:     26.02MB
";

    #[test]
    fn reads_wrk() {
        let o = parse_wrk(WRK, 0.0).unwrap();
        let want = Outcome {
            requests: 43330.0,
            rate: 21601.73,
            p50: 712.0,
            p99: 3170.0,
        };
        assert_eq!(o, want);
        let bad = format!("{WRK}  Socket errors: connect 0, read 3, write 0, timeout 0\n");
        assert!(
            parse_wrk(&bad, 0.0)
                .unwrap_err()
                .to_string()
                .contains("read 3")
        );
        assert!(parse_wrk("", 0.0).is_err());
    }

    #[test]
    fn reads_redis_benchmark() {
        let text = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\"GET\",\"71428.57\",\"0.400\",\"0.1\",\"0.383\",\"0.5\",\"0.711\",\"1.2\"\n";
        let o = parse_redis(text, 1000.0).unwrap();
        assert_eq!(
            (o.requests, o.rate, o.p50, o.p99),
            (1000.0, 71428.57, 383.0, 711.0)
        );
        assert!(parse_redis("", 1.0).is_err());
    }

    #[test]
    fn reads_times() {
        assert_eq!(time("1.5s").unwrap(), 1.5e6);
        assert_eq!(time("2.00m").unwrap(), 120e6);
        assert!(time("fast").is_err());
    }
}
