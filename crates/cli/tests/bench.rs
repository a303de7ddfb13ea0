//! `esca bench` from end to end, with few and short slices: the structure of
//! what it writes, not the speed.

use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

fn bench(args: &[&str]) -> Output {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release");
    let mut command = Command::new(env!("CARGO_BIN_EXE_esca"));
    if std::env::var_os("ESCA_LIB").is_none() {
        command.env("ESCA_LIB", library.join("libesca_preload.so"));
    }
    let short = ["--slice", "0.05", "--rounds", "2", "--life", "1"];
    let out = command.arg("bench").args(short).args(args).output();
    out.unwrap()
}

fn ok(args: &[&str]) -> String {
    let out = bench(args);
    let (said, wrong) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(out.status.success(), "{args:?}: {wrong}\n{said}");
    said.into_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_known_server_in_every_form() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (json, csv, html) = (path("b.json"), path("b.csv"), path("b.html"));
    let names = ["plain", "coalesce", "tuned"];
    let mut args = vec!["--only", "nginx:1 KiB"];
    for n in names {
        args.extend(["--config", n]);
    }
    args.extend(["--json", &json, "--csv", &csv, "--html", &html]);
    let said = ok(&args);
    for n in names {
        assert!(
            said.contains(&format!("| {n} ")),
            "{n} in the table:\n{said}"
        );
    }
    let data: serde_json::Value = serde_json::from_str(&read(Path::new(&json))).unwrap();
    let result = &data["results"][0];
    assert_eq!(result["server"], "nginx");
    for (s, n) in result["series"].as_array().unwrap().iter().zip(names) {
        assert_eq!(s["config"], n);
        assert_eq!(s["slices"]["life"], serde_json::json!([0, 1]));
        for figure in ["rate", "cpu", "segments", "p50", "p999"] {
            let all = s["slices"][figure].as_array().unwrap();
            let some = all.iter().all(|x| x.as_f64().is_some_and(|x| x > 0.0));
            assert!(all.len() == 2 && some, "{n} {figure}: {all:?}");
        }
        assert!(s["latencies"].as_array().unwrap().len() > 10);
        let esca = s["aggregated"].as_u64().unwrap() > 0;
        assert_eq!(esca, n == "coalesce", "{n} aggregates");
    }
    assert_eq!(read(Path::new(&csv)).lines().count(), 1 + 3 * 2);
    assert!(read(Path::new(&html)).contains("<svg"));

    // And all of it again from the data file, with nothing running.
    let (again, plots) = (path("c.html"), path("plots"));
    ok(&["--from", &json, "--html", &again, "--plots", &plots]);
    // Text of a PNG needs a font of the system: the picture, or one line.
    let out = bench(&["--from", &json, "--plots", &plots, "--png"]);
    let said = String::from_utf8_lossy(&out.stderr);
    if out.status.success() {
        let png = std::fs::read(Path::new(&plots).join("cpu.png")).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
    } else {
        assert!(said.contains("fonts-dejavu-core"), "{said}");
    }
    assert!(read(Path::new(&again)).contains("nginx"));
    assert!(read(&Path::new(&plots).join("cpu.svg")).starts_with("<svg"));
}

#[test]
fn a_sweep_of_a_command_with_a_load_generator_of_its_own() {
    let dir = TempDir::new().unwrap();
    let script = dir.path().join("load");
    let text = "#!/bin/sh\ncurl -sf -o /dev/null $1 $1 && echo '{\"requests\": 2, \"rate\": 7}'\n";
    std::fs::write(&script, text).unwrap();
    let client = format!("sh {} {{url}}", script.display());
    let site = dir.path().join("site");
    let json = dir.path().join("b.json");
    let said = ok(&[
        "--config",
        "plain",
        "--config",
        "coalesce",
        "--sweep",
        "connections=1,2",
        "--client",
        &client,
        "--path",
        "/a1.html",
        "--json",
        json.to_str().unwrap(),
        "--",
        env!("CARGO_BIN_EXE_esca"),
        "serve",
        "lighttpd",
        "--port",
        "{port}",
        "--dir",
        site.to_str().unwrap(),
    ]);
    assert!(said.contains("requests, 2 connections"), "{said}");
    let data: serde_json::Value = serde_json::from_str(&read(&json)).unwrap();
    for (i, value) in [1, 2].into_iter().enumerate() {
        let result = &data["results"][i];
        assert_eq!(result["sweep"], serde_json::json!(["connections", value]));
        assert_eq!(result["series"][1]["slices"]["rate"][0], 7.0);
    }
}

#[test]
fn a_calls_cost_by_everything_that_is_here() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (json, plot) = (path("m.json"), path("m.svg"));
    let out = Command::new(env!("CARGO_BIN_EXE_esca"))
        .args(["micro", "--rounds", "2", "--json", &json, "--plot", &plot])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{out:?}");
    assert!(said.contains("backend direct: "), "{said}");
    let lines: serde_json::Value = serde_json::from_str(&read(Path::new(&json))).unwrap();
    let lines = lines.as_array().unwrap();
    let svg = read(Path::new(&plot));
    assert_eq!(lines[0]["name"], "plain call");
    for l in lines {
        let name = l["name"].as_str().unwrap();
        assert!(said.contains(name) && svg.contains(name), "{name}: {said}");
        let costs = l["costs"].as_array().unwrap();
        assert_eq!(costs.len(), 11, "batches of 1 to 1024");
        let some = |c: &serde_json::Value| c[1]["median"].as_f64() > Some(0.0);
        assert!(costs.iter().all(some), "{name}: {costs:?}");
    }
}

#[test]
fn what_is_asked_wrongly_is_said() {
    let cases: [(&[&str], &str); 7] = [
        (&["--only", "apache"], "known: nginx"),
        (&["--only", "nginx:3 KiB"], "it has: 1 KiB"),
        (&["--config", "fast"], "unknown policy 'fast'"),
        (&["--sweep", "colour=1"], "size, connections and workers"),
        (&["--", "server", "-p", "80"], "write {port}"),
        (&["--", "nosuchserver", "{port}"], "is not in PATH"),
        (
            &["--client", "false", "--only", "pingpong"],
            "'false' failed",
        ),
    ];
    for (args, part) in cases {
        let out = bench(args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(
            !out.status.success() && said.contains(part),
            "{args:?}: {said}"
        );
    }
}
