//! The module under a kernel that looks for faults: its tests in short, what
//! happens when memory is short, servers, and in the end what was lost.

use crate::client::Client;
use crate::count::{lighttpd, nginx, redis};
use crate::device::{Device, open};
use crate::report::Report;
use crate::same::op;
use crate::{faults, fuzz, leaks, life, module, rules, same};
use esca_abi::device::{MAX_ENTRIES, Setup};
use esca_abi::op::{Op, OpCode};
use esca_suite::dir::Dir;
use esca_suite::mode::Mode;
use esca_suite::server::Server;
use esca_suite::site::noise;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::mount::{MountFlags, mount};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::Path;

/// The fuzzer's entries in one child.
const ENTRIES: u32 = 5000;

/// Runs all. In full: `number` entries for the fuzzer. In short, for a broken
/// variant of that number: as few as find what it has.
pub fn run(report: &mut Report, short: bool, number: u32) {
    report.run("debug: the kernel is the one that looks for faults", ready);
    leaks::from_now();
    life::run(report, if short { 1 } else { 10 });
    report.run("module", || module::load("allow_unhooked=1"));
    report.run("debug: a table closes its own unmapped device", own_close);
    rules::run_all(report);
    same::run(report, if short { 2 } else { 20 });
    faults::run(report);
    let (parts, seed) = if short {
        (1, 100)
    } else {
        (number.div_ceil(ENTRIES), 200)
    };
    for part in 0..parts {
        fuzz::run(report, ENTRIES, seed + u64::from(part));
    }
    if !short {
        servers(report);
        report.run("debug: pages of contexts come back", pages);
    }
    report.run("module: unloaded when all is done", || {
        module::unload().expect("unloaded");
    });
    report.run("debug: nothing was lost", leaks::check);
    report.run("debug: the kernel still looks for faults", ready);
}

/// Asserts that the kernel can find what it is built to find: lockdep switches
/// itself off after a report or when its tables are full, and kmemleak when it
/// has no memory.
fn ready() {
    if !Path::new("/sys/kernel/debug/kmemleak").exists() {
        let flags = MountFlags::empty();
        mount("debug", "/sys/kernel/debug", "debugfs", flags, None).expect("debugfs");
    }
    let locks = std::fs::read_to_string("/proc/lockdep_stats").expect("lockdep");
    let on = locks.lines().find(|l| l.contains("debug_locks:"));
    let on = on.expect("debug_locks").split_whitespace().next_back();
    assert_eq!(on, Some("1"), "lockdep is off:\n{locks}");
    let panics = std::fs::read_to_string("/proc/sys/kernel/panic_on_warn").expect("a setting");
    assert_eq!(panics.trim(), "1", "panic_on_warn");
    // Refused (EBUSY, EPERM) once it is off.
    std::fs::write("/sys/kernel/debug/kmemleak", "scan=off").expect("kmemleak");
}

/// The descriptor is the last that holds the context, and the table closes it:
/// the run ends on a context that is still there.
fn own_close() {
    let fd = open().expect("the device").into_raw_fd();
    let mut setup = Setup::new(64);
    crate::device::set_up(fd, &mut setup).expect("a table");
    let len = Setup::bytes(setup.entries);
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the device's own number, open; a new mapping, over nothing else.
    let table = unsafe {
        let device = std::os::fd::BorrowedFd::borrow_raw(fd);
        mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED, device, 0)
    };
    let table = table.expect("the table").cast::<Op>();
    // SAFETY: two of its 64 entries; then nobody has it any more.
    unsafe {
        table.write_volatile(op(OpCode::Close, fd, 0, 0));
        table.add(1).write_volatile(Op::nop());
        munmap(table.cast(), len).expect("unmapped");
    }
    let done = crate::device::run(fd, 2).expect("a run");
    assert!(done == 1 || done == 2, "{done}");
    // SAFETY: asks about a number.
    let open = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    assert_eq!(open, -1, "it is closed");
}

/// Contexts that are made and ended, and the tables' size in all: far more than
/// the memory that may be missing afterwards.
const TIMES: u32 = 400;
const MISSING_KIB: u64 = 32 << 10;

/// Makes and ends contexts with tables and buffers: their pages come back.
fn pages() {
    let (file, (ours, theirs)) = (std::fs::File::open("/etc/passwd"), crate::world::unix());
    let file = file.expect("a file");
    let copy = Op {
        fd2: file.as_raw_fd(),
        ..op(OpCode::SendFileCopy, ours.as_raw_fd(), 0, 1)
    };
    let before = leaks::memory("MemFree");
    for _ in 0..TIMES {
        let device = Device::new(MAX_ENTRIES).expect("a device");
        device.set(0, copy);
        assert_eq!(device.run(1).expect("a run"), 1);
        assert_eq!(device.result(0), 1);
        // What nobody reads would fill the socket, and the next send wait.
        assert_eq!(rustix::io::read(&theirs, &mut [0; 2]), Ok(1));
    }
    let after = leaks::memory("MemFree");
    assert!(
        after + MISSING_KIB > before,
        "{before} KiB were free, {after} are"
    );
}

/// Each server, with tables: what it sends is compared.
fn servers(report: &mut Report) {
    report.run("serve: the device is the group's", module::share);
    for policy in ["batch", "coalesce"] {
        let mode = Mode::Run(policy, "kmod");
        for kib in [1, 100] {
            let body = noise(1, kib << 10);
            report.run(&format!("serve: nginx, {kib} KiB, {policy}"), || {
                let site = Dir::new();
                site.write("page", &body);
                let server = nginx(mode, &site);
                rounds(
                    &server,
                    b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    &body,
                );
                server.assert_aggregated();
            });
        }
        let body = noise(1, 1 << 10);
        report.run(&format!("serve: lighttpd, 1 KiB, {policy}"), || {
            let site = Dir::new();
            site.write("page.html", &body);
            let server = lighttpd(mode, &site);
            let request = b"GET /page.html HTTP/1.1\r\nHost: localhost\r\n\r\n";
            rounds(&server, request, &body);
            server.assert_aggregated();
        });
        report.run(&format!("serve: Redis, 1 KiB, {policy}"), || {
            let dir = Dir::new();
            let server = redis(mode, &dir);
            esca_suite::resp::Resp::new(server.port).ask(&[b"SET", b"k", &body]);
            rounds(&server, &esca_suite::resp::command(&[b"GET", b"k"]), &body);
            // It writes an answer in one piece: nothing to coalesce.
            if policy == "batch" {
                server.assert_aggregated();
            }
        });
    }
}

/// Rounds of requests on each of some connections.
fn rounds(server: &Server, request: &[u8], body: &[u8]) {
    let mut client = Client::new(server.port, 16, request, body);
    (0..20).for_each(|_| client.round());
    let stats = server.stats.as_ref().expect("statistics");
    assert_eq!(stats.backend(), "kmod");
    stats.assert_active();
}
