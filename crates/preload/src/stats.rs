//! Where the statistics stand.
//!
//! A process that was not given a table makes one of its own at its first
//! wait: anonymous shared memory, by the one system call (mmap) that the
//! engine makes then anyway. `esca stat` finds it in /proc/PID/maps by its
//! size and first bytes, so it needs no file, no name and no descriptor.

use crate::{say, stats_file};
use esca_abi::stats::Table;
use esca_abi::status::Noted;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::*};

static LOCAL: Table = Table::new();
static SHARED: AtomicPtr<Table> = AtomicPtr::new(std::ptr::null_mut());
/// The table is this process's own, not one that a family shares.
static OWN: AtomicBool = AtomicBool::new(false);

/// Called at start: finds the table that `ESCA_STATS_SHM` names, or makes one
/// that forked workers share where `ESCA_STATS` asks for a file.
pub(crate) fn open() {
    if let Some(shm) = stats_file::path("ESCA_STATS_SHM") {
        map_file(&shm);
    }
    if stats_file::open() && SHARED.load(Relaxed).is_null() {
        map(-1, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    }
}

fn map_file(path: &CString) {
    // SAFETY: a C string; the descriptor is closed again.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if fd < 0 {
            return;
        }
        let mut st: libc::stat = std::mem::zeroed();
        if libc::fstat(fd, &raw mut st) == 0 && st.st_size as usize >= size_of::<Table>() {
            map(fd, libc::MAP_SHARED);
        }
        libc::close(fd);
    }
    // SAFETY: just mapped, or null.
    let other = unsafe { SHARED.load(Relaxed).as_ref() }.is_some_and(|t| !t.valid());
    if other {
        say::line(format_args!(
            "esca: the statistics file is of another version; counting without it"
        ));
        SHARED.store(std::ptr::null_mut(), Relaxed);
    }
}

fn map(fd: i32, flags: i32) {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice, as large as
    // a table, and zeroes are a table.
    let p = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Table>(), prot, flags, fd, 0) };
    if p != libc::MAP_FAILED {
        if fd < 0 {
            // SAFETY: as above.
            unsafe { (*p.cast::<Table>()).init() };
        }
        SHARED.store(p.cast(), Release);
    }
}

/// Called at the first wait: a table for this process, if it has none.
pub(crate) fn ensure() {
    if SHARED.load(Relaxed).is_null() {
        map(-1, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        OWN.store(!SHARED.load(Relaxed).is_null(), Relaxed);
    }
}

/// Called in a forked child before it counts anything: an own table is the
/// parent's, so a fresh one takes its place, at the same address because
/// segments point into it.
pub(crate) fn forked() {
    if !OWN.load(Relaxed) {
        return;
    }
    let old = table();
    let [slots, policy, rules, backend] =
        [&old.next_slot, &old.policy, &old.rules, &old.backend].map(|a| a.load(Relaxed));
    let noted = Noted::new();
    noted.copy_from(&old.noted);
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let at = std::ptr::from_ref(old).cast_mut().cast();
    // SAFETY: replaces the pages that `map` made, all of them and no others;
    // whoever holds a reference into them sees zeroes, which are a table.
    let p = unsafe { libc::mmap(at, size_of::<Table>(), prot, flags, -1, 0) };
    if p == libc::MAP_FAILED {
        return; // It goes on counting in its parent's.
    }
    let new = table();
    new.next_slot.store(slots, Relaxed);
    new.policy.store(policy, Relaxed);
    new.rules.store(rules, Relaxed);
    new.backend.store(backend, Relaxed);
    new.noted.copy_from(&noted);
    new.init();
}

/// The table in use.
pub(crate) fn table() -> &'static Table {
    // SAFETY: mapped for the process's life, or null.
    unsafe { SHARED.load(Acquire).as_ref() }.unwrap_or(&LOCAL)
}

/// Writes the totals to the file, if one is asked for.
pub(crate) fn write() {
    stats_file::write(table());
}

/// Writes the totals for the last time.
pub(crate) fn close() {
    stats_file::close(table());
}
