//! What the tool and the guest agree on: the lines on the second serial port.
//! The first one carries the kernel's log.

use serde::{Deserialize, Serialize};

/// Where the guest writes its lines.
pub const PORT: &str = "/dev/ttyS1";
/// Where the image keeps the kernel module.
pub const MODULE: &str = "/esca/esca.ko";
/// Where the image keeps the parts of the project that load the module.
pub const PROJECT: &str = "/project";
/// Where the image keeps the preload library and the `esca` command.
pub const LIBRARY: &str = "/usr/lib/esca/libesca_preload.so";
/// The `esca` command.
pub const COMMAND: &str = "/usr/bin/esca";

/// Tests of the suite that run in the virtual machine, in `/tests`.
pub const SUITES: [&str; 9] = [
    "contract_fds",
    "contract_modes",
    "contract_process",
    "contract_streams",
    "contract_threads",
    "contract_waits",
    "lighttpd",
    "nginx",
    "redis",
];

/// A line from the guest, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A test begins; whoever hears nothing more knows where it stopped.
    Start(String),
    /// It passed.
    Passed(String),
    /// It failed, and why.
    Failed(String, String),
    /// For the reader.
    Note(String),
    /// A measured figure.
    Figure(Figure),
    /// The guest's clock: seconds since it booted.
    Clock(f64),
    /// All was run: how many passed and failed.
    End(u32, u32),
}

/// A measured figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was done.
    pub what: String,
    /// How: plain, by table, under which policy.
    pub how: String,
    /// Operations at a time, or connections.
    pub batch: u32,
    /// The figure's name and unit.
    pub unit: String,
    /// The figure.
    pub value: f64,
    /// Half the way between the quartiles of the samples whose median it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
}
