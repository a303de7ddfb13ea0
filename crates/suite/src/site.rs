//! Files to serve: sizes around every limit, contents in which a misplaced
//! byte shows.

use crate::dir::Dir;
use std::path::Path;

/// The sizes; a file is named by its own.
pub const SIZES: [usize; 14] = [
    1,
    100,
    1024,
    4095,
    4096,
    8192,
    16_383,
    16_384,
    16_385,
    20_480,
    65_536,
    102_400,
    1 << 20,
    8 << 20,
];

/// A directory with a file of each size.
pub struct Site(Dir);

impl Site {
    /// Writes the files.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it writes files")]
    pub fn new() -> Site {
        let dir = Dir::new();
        for size in SIZES {
            dir.write(&size.to_string(), content(size));
        }
        Site(dir)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The directory, to add to it.
    #[must_use]
    pub fn dir(&self) -> &Dir {
        &self.0
    }
}

/// What the file of a size holds.
#[must_use]
pub fn content(size: usize) -> Vec<u8> {
    noise(size as u64, size)
}

/// Noise (xorshift): no two places look alike. The same seed gives the same
/// bytes, of which a smaller size gives the first.
#[must_use]
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64 ^ seed;
    let mut out = Vec::with_capacity(size + 8);
    while out.len() < size {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend(x.to_le_bytes());
    }
    out.truncate(size);
    out
}
