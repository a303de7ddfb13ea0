//! AT_SECURE programs: setuid, setgid, with file capabilities, or so marked by
//! a security module. Their environment is their caller's, who has fewer
//! rights, and the library may be in them all the same (`/etc/ld.so.preload`,
//! or linked by its path). There it is off, whole: it reads no setting, opens
//! no file and makes no promise.

/// Whether the kernel started this program with more rights than its caller's.
pub(crate) fn is_secure() -> bool {
    // SAFETY: reads the auxiliary vector, which lives as long as the process.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
