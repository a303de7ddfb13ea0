//! A load generator of the user's: its command, and what its output says.

use super::Outcome;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::process::{Command, Stdio};

/// A command that loads a server and prints what it measured.
#[derive(Clone)]
pub struct Generator {
    words: Vec<String>,
}

impl Generator {
    /// `text` is a command line; words are split at spaces, `{port}`, `{url}`
    /// and `{seconds}` in them are filled in.
    pub fn new(text: &str) -> Result<Self> {
        let words: Vec<String> = text.split_whitespace().map(String::from).collect();
        ensure!(!words.is_empty(), "--client names no command");
        Ok(Generator { words })
    }

    /// The command as it was given.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The command for a server on `port`.
    pub fn filled(&self, port: u16, path: &str, seconds: f64) -> Vec<String> {
        // The shortest run of most tools.
        let seconds = seconds.ceil().max(1.0).to_string();
        let url = format!("http://127.0.0.1:{port}{path}");
        let fill = |w: &String| {
            w.replace("{port}", &port.to_string())
                .replace("{url}", &url)
                .replace("{seconds}", &seconds)
        };
        self.words.iter().map(fill).collect()
    }

    /// Runs it to its end.
    pub fn run(&self, port: u16, path: &str, seconds: f64) -> Result<Outcome> {
        let words = self.filled(port, path, seconds);
        let shown = words.join(" ");
        let out = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .with_context(|| format!("cannot run the load generator {}", words[0]))?;
        let text = String::from_utf8_lossy(&out.stdout);
        ensure!(
            out.status.success(),
            "'{shown}' failed: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
        parse(&words, &text).with_context(|| format!("'{shown}' printed:\n{text}"))
    }
}

/// Reads the output of a known tool, by its name; of any other, a JSON object.
fn parse(words: &[String], text: &str) -> Result<Outcome> {
    let name = words[0].rsplit('/').next().unwrap_or_default();
    match name {
        "wrk" | "wrk2" => wrk(text),
        "ab" => ab(text),
        "redis-benchmark" => redis(words, text),
        _ => json(text).with_context(|| {
            format!("the output of {name} is not known; known: wrk, wrk2, ab, redis-benchmark --csv, or a last line {{\"requests\": N, \"rate\": N}}")
        }),
    }
}

fn outcome(requests: f64, rate: f64, [p50, p99, p999]: [Option<f64>; 3]) -> Result<Outcome> {
    ensure!(requests >= 1.0 && rate > 0.0, "no request was answered");
    Ok(Outcome {
        requests,
        rate,
        p50,
        p99,
        p999,
        latencies: None,
    })
}

/// The first line with `key`, and a word of it.
fn word(text: &str, key: &str, pick: impl Fn(&str) -> Option<&str>) -> Result<f64> {
    let line = text.lines().map(str::trim).find(|l| l.contains(key));
    let line = line.with_context(|| format!("no line with '{key}'"))?;
    let word = pick(line).with_context(|| format!("nothing in '{line}'"))?;
    word.parse().with_context(|| format!("'{line}'"))
}

fn wrk(text: &str) -> Result<Outcome> {
    for bad in ["Socket errors:", "Non-2xx"] {
        if let Some(line) = text.lines().find(|l| l.contains(bad)) {
            bail!("wrk met errors: {}", line.trim());
        }
    }
    let percent = |keys: &[&str]| {
        let mut lines = text.lines().map(str::trim);
        let line = lines.find(|l| keys.iter().any(|k| l.starts_with(k)))?;
        time(line.split_whitespace().last()?)
    };
    let requests = word(text, " requests in ", |l| l.split(' ').next())?;
    let rate = word(text, "Requests/sec:", |l| l.split_whitespace().last())?;
    // Without --latency there are none; wrk2 writes 50.000%.
    outcome(
        requests,
        rate,
        [
            percent(&["50%", "50.000%"]),
            percent(&["99%", "99.000%"]),
            percent(&["99.900%"]),
        ],
    )
}

/// A time as wrk prints it, in microseconds.
fn time(s: &str) -> Option<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("m", 60e6), ("s", 1e6)] {
        if let Some(n) = s.strip_suffix(unit) {
            return Some(n.parse::<f64>().ok()? * factor);
        }
    }
    None
}

fn ab(text: &str) -> Result<Outcome> {
    let failed = word(text, "Failed requests:", |l| l.split_whitespace().nth(2))?;
    ensure!(failed == 0.0, "ab met {failed} failed requests");
    let percent = |key: &str| {
        let line = text.lines().map(str::trim).find(|l| l.starts_with(key))?;
        let ms: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(ms * 1e3)
    };
    outcome(
        word(text, "Complete requests:", |l| l.split_whitespace().nth(2))?,
        word(text, "Requests per second:", |l| {
            l.split_whitespace().nth(3)
        })?,
        [percent("50%"), percent("99%"), None],
    )
}

fn redis(words: &[String], text: &str) -> Result<Outcome> {
    let at = words.iter().position(|w| w == "-n");
    let count = at.and_then(|i| words.get(i + 1)).map_or("100000", |n| n);
    let row = text
        .lines()
        .rfind(|l| l.starts_with('"') && !l.starts_with("\"test\""))
        .context("no row of figures; redis-benchmark wants --csv and one test (-t)")?;
    let f: Vec<&str> = row.split(',').map(|c| c.trim_matches('"')).collect();
    ensure!(f.len() >= 8, "a row of {} columns", f.len());
    let us = |s: &str| Some(s.parse::<f64>().ok()? * 1e3);
    outcome(count.parse()?, f[1].parse()?, [us(f[4]), us(f[6]), None])
}

/// What any other tool may print as its last line.
#[derive(Deserialize)]
struct Told {
    requests: f64,
    rate: f64,
    p50: Option<f64>,
    p99: Option<f64>,
    p999: Option<f64>,
}

fn json(text: &str) -> Result<Outcome> {
    let last = text.trim_end().lines().last().unwrap_or_default();
    let t: Told = serde_json::from_str(last)?;
    outcome(t.requests, t.rate, [t.p50, t.p99, t.p999])
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

    fn read(command: &str, text: &str) -> Result<(f64, f64, [Option<f64>; 3])> {
        let words = Generator::new(command).unwrap().words;
        let o = parse(&words, text)?;
        Ok((o.requests, o.rate, [o.p50, o.p99, o.p999]))
    }

    #[test]
    fn fills_in() {
        let g = Generator::new("wrk -d{seconds}s  {url} :{port}").unwrap();
        let words = g.filled(80, "/a", 0.3);
        assert_eq!(words, ["wrk", "-d1s", "http://127.0.0.1:80/a", ":80"]);
        assert!(Generator::new("  ").is_err());
    }

    #[test]
    fn reads_wrk() {
        let want = (43330.0, 21601.73, [Some(712.0), Some(3170.0), None]);
        assert_eq!(read("/usr/bin/wrk", WRK).unwrap(), want);
        let bad = format!("{WRK}  Socket errors: connect 0, read 3, write 0, timeout 0\n");
        let said = read("wrk", &bad).unwrap_err().to_string();
        assert!(said.contains("read 3"));
        assert!(read("wrk", "").is_err());
    }

    #[test]
    fn reads_wrk2() {
        let text = " 50.000%    1.10ms\n 99.000%    2.00ms\n 99.900%    3.00ms\n  10 requests in 1s, 1KB read\nRequests/sec: 9.5\n";
        let want = (10.0, 9.5, [Some(1100.0), Some(2000.0), Some(3000.0)]);
        assert_eq!(read("wrk2", text).unwrap(), want);
    }

    #[test]
    fn reads_redis_benchmark() {
        let text = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\"GET\",\"71428.57\",\"0.400\",\"0.1\",\"0.383\",\"0.5\",\"0.711\",\"1.2\"\n";
        let want = (1000.0, 71428.57, [Some(383.0), Some(711.0), None]);
        assert_eq!(read("redis-benchmark -n 1000 --csv", text).unwrap(), want);
        assert!(read("redis-benchmark", "").is_err());
    }

    #[test]
    fn reads_ab() {
        let text = "Complete requests:      1000\nFailed requests:        0\nRequests per second:    8000.5 [#/sec] (mean)\n  50%      6\n  99%     11\n";
        let want = (1000.0, 8000.5, [Some(6000.0), Some(11000.0), None]);
        assert_eq!(read("ab -n 1000", text).unwrap(), want);
        let bad = text.replace("        0\n", "        7\n");
        assert!(read("ab", &bad).unwrap_err().to_string().contains('7'));
    }

    #[test]
    fn reads_what_any_tool_may_print() {
        let text = "warming up\n{\"requests\": 10, \"rate\": 5.5, \"p99\": 7}\n";
        let want = (10.0, 5.5, [None, Some(7.0), None]);
        assert_eq!(read("mine", text).unwrap(), want);
        assert!(read("mine", "10 requests").is_err());
    }

    #[test]
    fn reads_times() {
        assert_eq!(time("1.5s"), Some(1.5e6));
        assert_eq!(time("2.00m"), Some(120e6));
        assert_eq!(time("fast"), None);
    }
}
