//! Why the library does less than it was asked for: what it cannot say on
//! standard error, which is the program's once the program runs.

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

macro_rules! statuses {
    ($($(#[$doc:meta])* $id:ident = $name:literal,)+) => {
        /// A reason; the discriminant is its bit in [`Noted`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Status { $($(#[$doc])* $id,)+ }

        impl Status {
            /// Every reason, in the order of the bits.
            pub const ALL: &[Status] = &[$(Status::$id,)+];

            /// Its name in JSON and in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Status::$id => $name,)+ }
            }
        }
    };
}

statuses! {
    /// The engine's table of streams could not be made. Number: errno.
    NoMemory = "no-memory",
    /// There is no `/dev/esca`.
    KmodNotThere = "kmod-not-there",
    /// `/dev/esca` may not be opened.
    KmodForbidden = "kmod-forbidden",
    /// The module is of another release. Number: its version of the table.
    KmodVersion = "kmod-version",
    /// The module does not serve a process under a seccomp filter.
    KmodFiltered = "kmod-filtered",
    /// The device failed otherwise. Number: errno.
    KmodFailed = "kmod-failed",
    /// The helper that bounds custody could not be started. Number: errno.
    NoHelper = "no-helper",
    /// The program had its system calls filtered.
    Filter = "filter",
    /// The program runs under SCHED_FIFO or SCHED_RR.
    RealTime = "real-time",
    /// Another library after ours interposes the calls that send.
    OtherStack = "other-stack",
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::NoMemory => "there is no memory for the stream table: running without ESCA",
            Status::KmodNotThere => "backend kmod: there is no /dev/esca: using plain calls",
            Status::KmodForbidden => "backend kmod: /dev/esca may not be opened: using plain calls",
            Status::KmodVersion => "backend kmod: the module is of another release: using plain calls",
            Status::KmodFiltered => "backend kmod: the process is under a seccomp filter: using plain calls",
            Status::KmodFailed => "backend kmod: /dev/esca failed: using plain calls",
            Status::NoHelper => "the helper cannot be started: nothing is deferred",
            Status::Filter => "the program filters its system calls: running without ESCA since then",
            Status::RealTime => "real-time scheduling would starve the helper: nothing is deferred",
            Status::OtherStack => {
                "a library preloaded after ESCA's interposes the calls that send: running without ESCA"
            }
        })
    }
}

const _: () = assert!(Status::ALL.len() <= Noted::NUMBERS);

/// The reasons that were noted, by all processes that share the table, and a
/// number with each. Zeroes are none.
#[repr(C)]
pub struct Noted {
    reasons: AtomicU64,
    numbers: [AtomicU8; Noted::NUMBERS],
}

impl Noted {
    const NUMBERS: usize = 24;
    /// Where the reasons stand, for who reads another process's table: 8 bytes,
    /// a bit for each.
    pub const REASONS_AT: usize = core::mem::offset_of!(Noted, reasons);
    /// Where the numbers stand: a byte for each reason.
    pub const NUMBERS_AT: usize = core::mem::offset_of!(Noted, numbers);

    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Noted {
            reasons: AtomicU64::new(0),
            numbers: [const { AtomicU8::new(0) }; Self::NUMBERS],
        }
    }

    /// Notes a reason. `number` says more about it (see [`Status`]), 0 for
    /// nothing; above 255 it is kept as that.
    pub fn note(&self, status: Status, number: u32) {
        self.numbers[status as usize].store(number.min(255) as u8, Relaxed);
        self.reasons.fetch_or(1 << status as u8, Relaxed);
    }

    /// The reasons and their numbers.
    pub fn all(&self) -> impl Iterator<Item = (Status, u8)> {
        let reasons = self.reasons.load(Relaxed);
        let noted = move |s: &&Status| reasons & (1 << **s as u8) != 0;
        let number = |s: &Status| (*s, self.numbers[*s as usize].load(Relaxed));
        Status::ALL.iter().filter(noted).map(number)
    }

    /// Copies what `other` has noted.
    pub fn copy_from(&self, other: &Noted) {
        for (status, number) in other.all() {
            self.note(status, number.into());
        }
    }
}

impl Default for Noted {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_numbers_are_kept() {
        let noted = Noted::new();
        assert_eq!(noted.all().count(), 0);
        noted.note(Status::OtherStack, 0);
        noted.note(Status::KmodVersion, 1000);
        noted.note(Status::NoMemory, 12);
        let copy = Noted::new();
        copy.copy_from(&noted);
        let want = [
            (Status::NoMemory, 12),
            (Status::KmodVersion, 255),
            (Status::OtherStack, 0),
        ];
        assert!(copy.all().eq(want));
    }

    #[test]
    fn each_reason_has_a_bit_of_its_own() {
        for (bit, status) in Status::ALL.iter().enumerate() {
            assert_eq!(*status as usize, bit);
        }
    }
}
