//! Makes ids of texts. The same texts always make the same number, in this program and in any other.

use sha2::{Digest, Sha256};

/// Stands between two texts: the character "unit separator", which no sane cell contains.
const SEPARATOR: u8 = 0x1f;

/// A number from 1 to 2^63 - 1: the first 8 bytes of the SHA-256 over the texts with one byte 0x1f between them, read
/// as a big-endian integer without its highest bit; 1 in place of 0.
pub(super) fn hash63<'t>(texts: impl IntoIterator<Item = &'t str>) -> i64 {
    let mut hash = Sha256::new();
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            hash.update([SEPARATOR]);
        }
        hash.update(text.as_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    (i64::from_be_bytes(first) & i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_documented_recipe() {
        // python3 -c 'import hashlib as h; print(int.from_bytes(h.sha256("536365\x1f85123A".encode()).digest()[:8],"big") & 2**63-1)'
        assert_eq!(hash63(["536365", "85123A"]), 2_577_614_272_500_899_903);
        assert_eq!(hash63(["85123A"]), 6_207_953_160_234_461_533);
        assert_ne!(hash63(["ab", "c"]), hash63(["a", "bc"]), "the border between texts counts");
    }
}
