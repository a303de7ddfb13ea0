//! What the constructor says on standard error. Later, descriptor 2 is the
//! program's, and may be a client: reasons go into the statistics instead
//! (`esca_abi::status`).

use std::fmt::Arguments;
use std::io::Write;

/// Says a line. A standard error that cannot be written to changes nothing.
pub(crate) fn line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
