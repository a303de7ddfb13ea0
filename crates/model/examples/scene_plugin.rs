//! A plugin that writes by its own binding of write(2), as an object opened
//! with RTLD_DEEPBIND has it.

/// Writes.
///
/// # Safety
/// That of write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plugin_write(fd: i32, at: *const libc::c_void, n: usize) -> isize {
    // SAFETY: the caller's promise.
    unsafe { libc::write(fd, at, n) }
}
