//! What is in a shard's database at one moment: its rows, counted and digested by the delivery that wrote them.
//!
//! One pass over the table in any order. Memory grows with the files, as that of every list of them, not with the rows.

use std::collections::BTreeMap;

use super::rows_digest::{RowImage, RowsDigest};
use crate::pipeline::task::{Digest, FileName};

/// A delivered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentFile {
    /// Which file.
    pub file: FileName,
    /// Rows that were delivered with it.
    pub rows: u64,
    /// Rows of it that are in `events` now: those that its delivery wrote. Where an earlier version delivered it, those
    /// that came in it and are of no known delivery.
    pub present: u64,
    /// The digests over its rows; nothing where an earlier version delivered it.
    pub digests: Option<RowDigests>,
}

/// The rows of a delivery as they were, and as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDigests {
    /// What the marker keeps.
    pub delivered: String,
    /// What the rows in `events` make.
    pub present: Digest,
}

/// What is in a shard's database at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// Rows in `events`.
    pub rows: u64,
    /// The delivered files, by name.
    pub sent: Vec<SentFile>,
    /// Rows of deliveries that have no marker, by the delivery's file.
    pub unmarked: BTreeMap<String, u64>,
    /// Rows of no known delivery, by the file they came in, where no earlier version delivered that file: early returns
    /// that one of its senders delivered, or rows that no sender wrote.
    pub unattributed: BTreeMap<String, u64>,
}

/// A marker as it is read.
pub(crate) struct Marker {
    pub(crate) file: FileName,
    pub(crate) rows: u64,
    /// Nothing where an earlier version wrote it.
    pub(crate) rows_sha256: Option<String>,
}

/// A row as it is read.
pub(crate) struct StoredRow<'a> {
    /// The file whose delivery wrote it; nothing where an earlier version did.
    pub(crate) delivered_with: Option<&'a str>,
    /// The file that it came in.
    pub(crate) source_file: &'a str,
    /// The row itself; nothing if a column holds what no delivery writes.
    pub(crate) image: Option<RowImage<'a>>,
}

/// Rows while they are counted.
#[derive(Default)]
pub(crate) struct CensusTally {
    rows: u64,
    by_delivery: BTreeMap<String, Present>,
    by_source: BTreeMap<String, u64>,
}

/// The rows of one delivery so far.
#[derive(Default)]
struct Present {
    rows: u64,
    digest: RowsDigest,
}

impl CensusTally {
    /// Counts a row.
    pub(crate) fn add(&mut self, row: &StoredRow<'_>) {
        self.rows += 1;
        let Some(delivery) = row.delivered_with else {
            *entry(&mut self.by_source, row.source_file) += 1;
            return;
        };
        let present = entry(&mut self.by_delivery, delivery);
        present.rows += 1;
        // A row that cannot be read adds nothing: the digest differs, too.
        if let Some(image) = &row.image {
            present.digest.add(image);
        }
    }

    /// Puts the rows to their markers, which are in the order of their files.
    pub(crate) fn census(mut self, markers: Vec<Marker>) -> Census {
        let sent = markers.into_iter().map(|marker| self.sent_file(marker)).collect();
        let unmarked = self.by_delivery.into_iter().map(|(file, present)| (file, present.rows)).collect();
        Census { rows: self.rows, sent, unmarked, unattributed: self.by_source }
    }

    fn sent_file(&mut self, marker: Marker) -> SentFile {
        let Marker { file, rows, rows_sha256 } = marker;
        let Some(delivered) = rows_sha256 else {
            let present = self.by_source.remove(file.as_str()).unwrap_or(0);
            return SentFile { file, rows, present, digests: None };
        };
        let present = self.by_delivery.remove(file.as_str()).unwrap_or_default();
        let digests = Some(RowDigests { delivered, present: present.digest.digest() });
        SentFile { file, rows, present: present.rows, digests }
    }
}

impl SentFile {
    /// Whether an earlier version delivered it: then it is not known which rows it brought.
    pub fn is_undigested(&self) -> bool {
        self.digests.is_none()
    }

    /// Whether the rows are there and are those that were delivered; nothing is known of that without digests.
    pub fn is_as_delivered(&self) -> bool {
        let is_same = |digests: &RowDigests| digests.delivered == digests.present.to_string();
        self.digests.as_ref().is_none_or(|digests| self.rows == self.present && is_same(digests))
    }
}

/// The entry of a file.
fn entry<'m, T: Default>(map: &'m mut BTreeMap<String, T>, file: &str) -> &'m mut T {
    map.entry(file.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(delivered_with: Option<&'static str>, source_file: &'static str, source_line: i64) -> StoredRow<'static> {
        let image = RowImage {
            event_type: 1,
            shard: 0,
            timestamp_ms: 0,
            shop_id: None,
            user_id: None,
            source_line,
            source_file,
        };
        StoredRow { delivered_with, source_file, image: Some(image) }
    }

    const A: &str = "20250101000001";
    const B: &str = "20250101000002";
    const C: &str = "20250101000003";

    fn marker(file: &str, rows: u64, rows_sha256: Option<Digest>) -> Marker {
        Marker { file: file.parse().unwrap(), rows, rows_sha256: rows_sha256.map(|digest| digest.to_string()) }
    }

    fn census(rows: &[StoredRow<'_>], markers: Vec<Marker>) -> Census {
        let mut tally = CensusTally::default();
        rows.iter().for_each(|row| tally.add(row));
        tally.census(markers)
    }

    fn digest(rows: &[StoredRow<'_>]) -> Digest {
        let mut digest = RowsDigest::default();
        rows.iter().for_each(|row| digest.add(&row.image.unwrap()));
        digest.digest()
    }

    #[test]
    fn a_row_is_put_to_the_delivery_that_wrote_it_whatever_file_it_came_in() {
        let of_a = digest(&[row(Some(A), A, 1)]);
        let of_b = digest(&[row(Some(B), A, 2), row(Some(B), B, 1)]);
        let rows = [row(Some(B), A, 2), row(Some(A), A, 1), row(Some(B), B, 1)];
        let census = census(&rows, vec![marker(A, 1, Some(of_a)), marker(B, 2, Some(of_b))]);
        assert_eq!((census.rows, census.unmarked.len(), census.unattributed.len()), (3, 0, 0));
        assert!(census.sent.iter().all(SentFile::is_as_delivered), "{census:?}");
        assert_eq!(census.sent.iter().map(|sent| sent.present).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_an_earlier_version_delivered_is_counted_by_the_file_it_came_in() {
        // B is of an earlier version and brought a row of C, and another one of A.
        let rows = [row(Some(A), A, 1), row(None, A, 2), row(None, B, 1), row(None, C, 5)];
        let of_a = digest(&rows[..1]);
        let census = census(&rows, vec![marker(A, 1, Some(of_a)), marker(B, 3, None)]);
        assert!(census.sent[0].is_as_delivered() && !census.sent[0].is_undigested());
        assert!(census.sent[1].is_undigested() && census.sent[1].present == 1);
        assert_eq!(census.unattributed, BTreeMap::from([(A.to_owned(), 1), (C.to_owned(), 1)]));
    }

    #[test]
    fn a_row_of_a_delivery_without_a_marker_and_one_that_cannot_be_read_are_told() {
        let of_a = digest(&[row(Some(A), A, 1)]);
        let unreadable = StoredRow { image: None, ..row(Some(A), A, 1) };
        let census = census(&[unreadable, row(Some(B), A, 2)], vec![marker(A, 1, Some(of_a))]);
        assert!(!census.sent[0].is_as_delivered() && census.sent[0].present == 1);
        assert_eq!(census.unmarked, BTreeMap::from([(B.to_owned(), 1)]));
    }
}
