//! The digest over the rows of a delivery: the sender keeps it in the marker, the audit makes it again from the table.
//!
//! It is the sum, modulo 2^256, of the SHA-256 of every row. The order of the rows is of no account, because a table
//! has none; what orders them is in them, as file and line. So neither side has to sort or to hold rows.
//! docs/data-model.md describes the encoding; it must never change, because it stands in databases.

use sha2::{Digest as _, Sha256};

use super::EventRow;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::Digest;

/// Bytes of a row's encoding before its file's name. With a name of 14 bytes it fits into one block of SHA-256.
const HEAD_BYTES: usize = 36;

/// A row of `events`, as far as its event determines it: `id` and `created_at` are of the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowImage<'a> {
    /// `event_type`.
    pub(crate) event_type: u8,
    /// `shard`.
    pub(crate) shard: u8,
    /// `timestamp`, in milliseconds since 1970.
    pub(crate) timestamp_ms: i64,
    /// `shop_id`.
    pub(crate) shop_id: Option<i64>,
    /// `user_id`.
    pub(crate) user_id: Option<i64>,
    /// `source_line`.
    pub(crate) source_line: i64,
    /// `source_file`.
    pub(crate) source_file: &'a str,
}

/// The digest over the rows so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RowsDigest {
    /// The high and the low half of the sum.
    high: u128,
    low: u128,
}

impl<'a> RowImage<'a> {
    /// The image of a row that is delivered in this shard; its line as the column holds it.
    pub(crate) fn of(row: &'a EventRow, shard: ShardId) -> Self {
        Self {
            event_type: row.event_type,
            shard: shard.get(),
            timestamp_ms: row.timestamp.unix_ms(),
            shop_id: row.shop_id,
            user_id: row.user_id,
            source_line: i64::try_from(row.source_line).unwrap_or(i64::MAX),
            source_file: row.source_file.as_str(),
        }
    }

    fn sha256(&self) -> [u8; 32] {
        let mut head = [0; HEAD_BYTES];
        head[0] = self.event_type;
        head[1] = self.shard;
        // Which of the two are not NULL: a zero is none.
        head[2] = u8::from(self.shop_id.is_some());
        head[3] = u8::from(self.user_id.is_some());
        let numbers = [self.timestamp_ms, self.shop_id.unwrap_or(0), self.user_id.unwrap_or(0), self.source_line];
        for (place, number) in head[4..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        Sha256::new().chain_update(head).chain_update(self.source_file).finalize().into()
    }
}

impl RowsDigest {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: &RowImage<'_>) {
        let (mut high, mut low) = ([0; 16], [0; 16]);
        let sha256 = row.sha256();
        high.copy_from_slice(&sha256[..16]);
        low.copy_from_slice(&sha256[16..]);
        let (high, low) = (u128::from_be_bytes(high), u128::from_be_bytes(low));
        let (sum, carries) = self.low.overflowing_add(low);
        self.low = sum;
        self.high = self.high.wrapping_add(high).wrapping_add(u128::from(carries));
    }

    /// The digest as the marker keeps it: the sum, its highest byte first.
    pub(crate) fn digest(self) -> Digest {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.high.to_be_bytes());
        bytes[16..].copy_from_slice(&self.low.to_be_bytes());
        Digest::new(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> RowImage<'static> {
        RowImage {
            event_type: 1,
            shard: 5,
            timestamp_ms: 1_735_689_600_007,
            shop_id: Some(-3),
            user_id: None,
            source_line: 17,
            source_file: "20250101000000",
        }
    }

    fn digest_of(rows: &[RowImage<'_>]) -> Digest {
        let mut digest = RowsDigest::default();
        rows.iter().for_each(|row| digest.add(row));
        digest.digest()
    }

    /// What stands in databases: computed once with another program, from the description in docs/data-model.md.
    #[test]
    fn the_encoding_is_the_documented_one() {
        let other = RowImage { event_type: 3, shop_id: None, user_id: Some(i64::MAX), source_line: 18, ..row() };
        assert_eq!(digest_of(&[row()]).to_string(), "5d586280c593ed486176ec0a698ba2e33b93cf70bc4cfdb4a9ec1f9b8653163e");
        assert_eq!(
            digest_of(&[row(), other]).to_string(),
            "ad09c8ba13000a18a819b1de551695f8c971c223b2ece94e2fce679b7d944797"
        );
        assert_eq!(digest_of(&[]).to_string(), "0".repeat(64));
    }

    #[test]
    fn the_order_is_of_no_account_and_every_column_is() {
        let base = digest_of(&[row()]);
        let changed = [
            RowImage { event_type: 2, ..row() },
            RowImage { shard: 4, ..row() },
            RowImage { timestamp_ms: 1_735_689_600_008, ..row() },
            RowImage { shop_id: None, ..row() },
            RowImage { shop_id: Some(3), ..row() },
            RowImage { user_id: Some(0), ..row() },
            RowImage { source_line: 18, ..row() },
            RowImage { source_file: "20250101000001", ..row() },
            // Swapped values are not the same values.
            RowImage { shop_id: None, user_id: Some(-3), ..row() },
        ];
        for one in changed {
            assert_ne!(digest_of(&[one]), base, "{one:?}");
            assert_eq!(digest_of(&[one, row()]), digest_of(&[row(), one]));
        }
        assert_ne!(digest_of(&[row(), row()]), base);
    }

    #[test]
    fn the_low_half_carries_into_the_high_one() {
        let mut digest = RowsDigest { high: 1, low: u128::MAX };
        let sha256 = row().sha256();
        digest.add(&row());
        let high = u128::from_be_bytes(sha256[..16].try_into().unwrap());
        let low = u128::from_be_bytes(sha256[16..].try_into().unwrap());
        assert_eq!(digest, RowsDigest { high: high.wrapping_add(2), low: low.wrapping_sub(1) });
    }
}
