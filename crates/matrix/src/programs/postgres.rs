//! PostgreSQL, and PgBouncer in front of one that runs without ESCA, used by
//! psql. Both refuse to run as root.

use crate::client::{together, tool};
use crate::service::Service;
use crate::user::{demote, give, reachable};
use crate::{Program, Run};
use esca_suite::build::output_of;
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::{eventually, port};
use rustix::process::Signal;
use std::process::Command;

/// The database.
pub struct Postgres;

/// The pool of connections.
pub struct PgBouncer;

const BIN: &str = "/usr/lib/postgresql/15/bin";
const CLIENTS: usize = 6;
/// Short statements of each client, beside the long ones.
const SHORT: usize = 100;

/// A running database with its directory.
struct Database {
    service: Service,
    port: u16,
    _dir: Dir,
}

fn database(mode: Mode) -> Database {
    let (dir, data, port) = (Dir::new(), Dir::new(), port::free());
    give(&data);
    let mut initdb = tool(&format!("{BIN}/initdb"));
    demote(&mut initdb);
    initdb
        .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"])
        .args(["--no-sync", "-D"])
        .arg(data.path().join("data"));
    output_of(initdb.current_dir("/"));
    let mut command = Command::new(format!("{BIN}/postgres"));
    demote(&mut command);
    reachable(mode, &mut command, &dir);
    command
        .current_dir("/")
        .args(["-k", "", "-h", "127.0.0.1", "-c", "fsync=off", "-p"])
        .arg(port.to_string())
        .arg("-D")
        .arg(data.path().join("data"));
    let service = Service::start(mode, port, &dir, &mut command);
    // It takes connections before it answers them.
    eventually("the database", || {
        let mut ask = psql(port);
        let done = ask.args(["-c", "select 1"]).output().expect("psql runs");
        done.status.success().then_some(())
    });
    Database {
        service,
        port,
        _dir: data,
    }
}

fn psql(port: u16) -> Command {
    let mut command = tool("psql");
    command
        .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres"])
        .args(["-h", "127.0.0.1", "-d", "postgres", "-p"])
        .arg(port.to_string());
    command
}

/// A client's statements: a table of its own filled by COPY, large results of
/// two kinds, and many short ones.
fn script(client: usize) -> String {
    let mut all = format!("create table t{client} (n int, s text);\ncopy t{client} from stdin;\n");
    for n in 0..5000 {
        all += &format!("{n}\trow {n} of client {client} {}\n", "x".repeat(n % 90));
    }
    all += "\\.\n";
    all += &format!("select * from t{client} order by n;\n");
    all += &format!("copy (select n, md5(s) from t{client} order by n) to stdout;\n");
    all += &format!("select repeat(md5('{client}'), 30000);\n");
    for n in 0..SHORT {
        all += &format!("update t{client} set s = '{n}' where n = {n} returning n, s;\n");
    }
    all += "select 1/(select count(*) - 5000 from t";
    all += &format!("{client});\n");
    all
}

/// Has several clients at the same time run their statements, of which the
/// last one fails: the output and the error of each.
fn session(port: u16, dir: &Dir) -> (Vec<crate::Piece>, u64) {
    let one = |i: usize| {
        let file = dir.write(&format!("script-{i}"), script(i));
        let done = psql(port).arg("-f").arg(file).output().expect("psql runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(said.contains("division by zero"), "client {i}: {said}");
        let code = format!("{:?}", done.status.code()).into_bytes();
        vec![
            (format!("client {i}: output"), done.stdout),
            (format!("client {i}: exit status"), code),
        ]
    };
    (
        together(CLIENTS, one).concat(),
        (CLIENTS * (SHORT + 6)) as u64,
    )
}

impl Program for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn package(&self) -> &'static str {
        "postgresql-15"
    }

    fn checked(&self) -> &'static str {
        "COPY in and out, results to 1 MB, short statements, an error; 6 psql at a time"
    }

    fn run(&self, mode: Mode) -> Run {
        let (dir, database) = (Dir::new(), database(mode));
        let (mut seen, requests) = session(database.port, &dir);
        let stats = database.service.end(Signal::INT, &mut seen);
        Run {
            seen,
            requests,
            stats,
        }
    }
}

impl Program for PgBouncer {
    fn name(&self) -> &'static str {
        "PgBouncer"
    }

    fn package(&self) -> &'static str {
        "pgbouncer"
    }

    fn checked(&self) -> &'static str {
        "the same through its transaction pool of 3 connections"
    }

    fn run(&self, mode: Mode) -> Run {
        let (dir, port, database) = (Dir::new(), port::free(), database(Mode::Plain));
        dir.write("users", "\"postgres\" \"\"\n");
        let conf = dir.write(
            "pgbouncer.ini",
            format!(
                "[databases]\npostgres = host=127.0.0.1 port={}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir =\nauth_type = trust\nauth_file = {}/users\n\
                 pool_mode = transaction\ndefault_pool_size = 3\n",
                database.port,
                dir.path().display()
            ),
        );
        let mut command = Command::new("pgbouncer");
        demote(&mut command);
        reachable(mode, &mut command, &dir);
        let server = Service::start(mode, port, &dir, command.arg(conf));
        let (mut seen, requests) = session(port, &dir);
        let stats = server.end(Signal::INT, &mut seen);
        drop(database.service.end(Signal::INT, &mut seen));
        Run {
            seen,
            requests,
            stats,
        }
    }
}
