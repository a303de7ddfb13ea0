//! The bytes that streams carry: each says who wrote it, and follows from its
//! place, so that any byte lost, doubled or moved shows.

/// The writer of what the peer sends.
pub const PEER: usize = 7;

/// Bytes `at..` of what `writer` writes on a connection; the two highest bits
/// of each are the writer's number.
pub fn fill(seed: u64, connection: usize, writer: usize, at: u64, to: &mut [u8]) {
    let key = mix(seed ^ (connection as u64) << 32 ^ (writer as u64) << 40);
    let tag = (writer as u8) << 6;
    let mut word = [0; 8];
    let mut have = u64::MAX;
    for (byte, place) in to.iter_mut().zip(at..) {
        if place / 8 != have {
            have = place / 8;
            word = mix(key ^ have).to_ne_bytes();
        }
        *byte = tag | word[(place % 8) as usize] & 0x3f;
    }
}

/// The same as a vector.
#[must_use]
pub fn make(seed: u64, connection: usize, writer: usize, at: u64, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    fill(seed, connection, writer, at, &mut bytes);
    bytes
}

/// The writer of a byte.
#[must_use]
pub fn writer(byte: u8) -> usize {
    usize::from(byte >> 6)
}

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
