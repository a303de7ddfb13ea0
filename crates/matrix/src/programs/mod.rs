//! The programs. To add one: a file here and a line in each of the lists.

mod apache;
mod curl;
mod git;
mod haproxy;
mod lighttpd;
mod memcached;
mod mosquitto;
mod nginx;
mod node;
mod openssh;
mod php;
mod postgres;
mod preloads;
mod python;
mod redis;
mod varnish;

use crate::Program;

/// Every program.
pub const ALL: &[&dyn Program] = &[
    &nginx::Nginx,
    &lighttpd::Lighttpd,
    &redis::Redis,
    &memcached::Memcached,
    &haproxy::Haproxy,
    &varnish::Varnish,
    &apache::Apache { mpm: "event" },
    &apache::Apache { mpm: "prefork" },
    &node::Node,
    &python::Uvicorn,
    &python::Gunicorn { worker: "gthread" },
    &python::Gunicorn { worker: "uvicorn" },
    &php::PhpFpm,
    &postgres::Postgres,
    &postgres::PgBouncer,
    &mosquitto::Mosquitto,
    &curl::Curl,
    &git::Daemon,
    &git::OverHttp,
    &openssh::OpenSsh,
    &preloads::Jemalloc,
    &preloads::EatMyData,
];
