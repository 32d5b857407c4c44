//! The rows of a shard beside its markers and what the sender reported.
//!
//! Every row names the delivery that wrote it, and every marker has the digest of its rows: so each file is compared by
//! itself, row for row. Files that an earlier version delivered are compared by number, as far as that goes: a row bears
//! the name of the file that it came in, and an early return is delivered with a later file, of whatever shard its
//! purchase is.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipeline::event::ShardId;
use crate::pipeline::shard_db::{Census, RowDigests, SentFile};
use crate::pipeline::task::{FileName, TaskKey};

/// What to do when rows differ.
const NEXT: &str =
    "rows were added, deleted or changed by hand: put them back from a backup (docs/runbook.md#audit-difference)";

/// What was reported of the tasks.
pub struct Reported<'a> {
    /// The shard.
    pub shard: ShardId,
    /// Rows that the sender reported.
    pub delivered: &'a BTreeMap<TaskKey, u64>,
    /// Early returns that were taken up, by the task that did.
    pub released: &'a BTreeMap<TaskKey, u64>,
    /// Early returns by the file that brought them; nothing while one of its shards has not been reported.
    pub held: &'a BTreeMap<FileName, Option<u64>>,
}

/// A difference of one file, or of the whole shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDifference {
    /// Which file, if it is one's.
    pub file: Option<FileName>,
    /// What differs.
    pub what: String,
}

/// Compares all files of a shard.
pub fn compare(census: &Census, reported: &Reported<'_>) -> Vec<RowDifference> {
    let mut found = Vec::new();
    for sent in &census.sent {
        found.extend(reported.of_marker(sent).map(|what| of(&sent.file, what)));
        found.extend(reported.of_rows(sent).map(|what| of(&sent.file, what)));
    }
    found.extend(reported.without_marker(census));
    found.extend(reported.of_no_delivery(census));
    // Each of these files may be right by itself, and all of them together wrong.
    if !found.iter().any(|one| one.file.as_ref().is_some_and(|file| is_undigested(census, file))) {
        found.extend(of_earlier_version(census));
    }
    found
}

fn of(file: &FileName, what: String) -> RowDifference {
    RowDifference { file: Some(file.clone()), what }
}

/// Enough of a digest to tell it from another.
fn beginning(digest: &str) -> String {
    digest.chars().take(12).chain("...".chars()).collect()
}

fn is_undigested(census: &Census, file: &FileName) -> bool {
    census.unattributed.contains_key(file.as_str())
        || census.sent.iter().any(|sent| sent.file == *file && sent.is_undigested())
}

/// Rows that earlier versions delivered, all together.
fn of_earlier_version(census: &Census) -> Option<RowDifference> {
    let undigested = || census.sent.iter().filter(|sent| sent.is_undigested());
    let delivered: u64 = undigested().map(|sent| sent.rows).sum();
    let present = undigested().map(|sent| sent.present).chain(census.unattributed.values().copied()).sum::<u64>();
    (delivered != present).then(|| {
        let what = format!(
            "{delivered} rows were delivered by an earlier version, {present} of them are in the database; {NEXT}"
        );
        RowDifference { file: None, what }
    })
}

impl Reported<'_> {
    fn key(&self, file: &FileName) -> TaskKey {
        TaskKey { file: file.clone(), shard: self.shard }
    }

    fn of_marker(&self, sent: &SentFile) -> Option<String> {
        let reported = self.delivered.get(&self.key(&sent.file)).filter(|reported| **reported != sent.rows)?;
        Some(format!("mysql-sender reported {reported} rows, the marker says {}", sent.rows))
    }

    fn of_rows(&self, sent: &SentFile) -> Option<String> {
        let SentFile { rows, present, .. } = sent;
        match &sent.digests {
            None => self.of_undigested_rows(sent),
            Some(_) if rows != present => {
                Some(format!("{rows} rows were delivered, {present} are in the database; {NEXT}"))
            }
            Some(RowDigests { delivered, present }) => (!sent.is_as_delivered()).then(|| {
                let (delivered, present) = (beginning(delivered), beginning(&present.to_string()));
                format!(
                    "its {rows} rows are in the database, but not as they were delivered: their digest was \
                     {delivered}, it is {present}; {NEXT}"
                )
            }),
        }
    }

    /// So many rows may be with other files than they were delivered with.
    fn of_undigested_rows(&self, sent: &SentFile) -> Option<String> {
        let SentFile { file, rows, present, .. } = sent;
        let of_others = self.released.get(&self.key(file)).copied().unwrap_or(u64::MAX);
        let with_others = self.held_of(file.as_str());
        if (rows.saturating_sub(of_others)..=rows.saturating_add(with_others)).contains(present) {
            return None;
        }
        let early = if of_others == 0 && with_others == 0 {
            String::new()
        } else {
            format!(" (up to {of_others} of them from other files, and up to {with_others} of its own with others)")
        };
        Some(format!("{rows} rows were delivered{early}, {present} of this file are in the database; {NEXT}"))
    }

    /// How many early returns a file brought; any number where that is not known.
    fn held_of(&self, file: &str) -> u64 {
        let held = file.parse().ok().and_then(|file: FileName| self.held.get(&file).copied());
        held.map_or(0, |held| held.unwrap_or(u64::MAX))
    }

    /// Files that were reported or have rows, and whose marker is not there.
    fn without_marker(&self, census: &Census) -> Vec<RowDifference> {
        let marked: BTreeSet<&FileName> = census.sent.iter().map(|sent| &sent.file).collect();
        let own = self.delivered.iter().filter(|(key, _)| key.shard == self.shard && !marked.contains(&key.file));
        let mut found: Vec<_> = own
            .map(|(key, reported)| {
                let rows = match census.unmarked.get(key.file.as_str()) {
                    Some(present) => format!("{present} are in the database, and their marker in sent_file is gone"),
                    None => "the database knows nothing of them".to_owned(),
                };
                of(&key.file, format!("mysql-sender reported {reported} rows, {rows}"))
            })
            .collect();
        for (name, rows) in &census.unmarked {
            let file: Option<FileName> = name.parse().ok();
            if !file.as_ref().is_some_and(|file| self.delivered.contains_key(&self.key(file))) {
                let what = format!(
                    "{rows} rows are in the database as delivered with '{name}', which has no marker in sent_file; {NEXT}"
                );
                found.push(RowDifference { file, what });
            }
        }
        found
    }

    /// Rows of no known delivery, where no earlier version can have written them.
    fn of_no_delivery(&self, census: &Census) -> Vec<RowDifference> {
        let takes_up = |sent: &SentFile| self.released.get(&self.key(&sent.file)).is_none_or(|released| *released > 0);
        let may_be = census.sent.iter().any(|sent| sent.is_undigested() && takes_up(sent));
        let mut found = Vec::new();
        for (name, rows) in &census.unattributed {
            let early = if may_be { self.held_of(name) } else { 0 };
            if *rows > early {
                let what = format!(
                    "{rows} rows of it are in the database that no delivery wrote ({early} may be early returns); {NEXT}"
                );
                found.push(RowDifference { file: name.parse().ok(), what });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::task::Digest;

    const A: &str = "20250101000001";
    const B: &str = "20250101000002";

    fn key(file: &str) -> TaskKey {
        TaskKey { file: file.parse().unwrap(), shard: ShardId::new(0).unwrap() }
    }

    fn sent(file: &str, rows: u64, present: u64) -> SentFile {
        let digest = Digest::new([7; 32]);
        let digests = Some(RowDigests { delivered: digest.to_string(), present: digest });
        SentFile { file: file.parse().unwrap(), rows, present, digests }
    }

    fn earlier(file: &str, rows: u64, present: u64) -> SentFile {
        SentFile { digests: None, ..sent(file, rows, present) }
    }

    fn census(sent: Vec<SentFile>, unattributed: &[(&str, u64)]) -> Census {
        let unattributed = unattributed.iter().map(|(file, rows)| ((*file).to_owned(), *rows)).collect();
        Census { rows: 0, sent, unattributed, unmarked: BTreeMap::new() }
    }

    /// What is found where A reported `a` early returns as brought, and B took up `b`.
    fn found(census: &Census, held: Option<u64>, released: u64) -> Vec<(Option<String>, String)> {
        let shard = ShardId::new(0).unwrap();
        let delivered: BTreeMap<_, _> = census.sent.iter().map(|sent| (key(sent.file.as_str()), sent.rows)).collect();
        let released = BTreeMap::from([(key(A), 0), (key(B), released)]);
        let held = BTreeMap::from([(A.parse().unwrap(), held), (B.parse().unwrap(), Some(0))]);
        let reported = Reported { shard, delivered: &delivered, released: &released, held: &held };
        let differences = compare(census, &reported).into_iter();
        differences.map(|one| (one.file.map(|file| file.as_str().to_owned()), one.what)).collect()
    }

    #[test]
    fn each_file_is_compared_by_itself() {
        assert_eq!(found(&census(vec![sent(A, 5, 5), sent(B, 6, 6)], &[]), Some(0), 0), []);
        // One row less of A, one more of B: the sum is right.
        let both = found(&census(vec![sent(A, 5, 4), sent(B, 6, 7)], &[]), Some(3), 3);
        assert_eq!(both.len(), 2, "{both:?}");
        assert!(
            both[0].0.as_deref() == Some(A) && both[0].1.starts_with("5 rows were delivered, 4 are in the database")
        );
        assert!(
            both[1].0.as_deref() == Some(B) && both[1].1.starts_with("6 rows were delivered, 7 are in the database")
        );
    }

    #[test]
    fn rows_that_are_not_what_was_delivered_are_named_although_their_number_is_right() {
        let changed = RowDigests { delivered: Digest::new([7; 32]).to_string(), present: Digest::new([8; 32]) };
        let found = found(&census(vec![SentFile { digests: Some(changed), ..sent(A, 5, 5) }], &[]), Some(0), 0);
        assert!(
            found.len() == 1
                && found[0].1.starts_with("its 5 rows are in the database, but not as they were delivered")
        );
    }

    /// The task of A failed in this shard, so A has no marker here; B was delivered with two early returns of A.
    #[test]
    fn early_returns_of_a_file_without_a_marker_are_no_difference() {
        for held in [None, Some(2)] {
            assert_eq!(found(&census(vec![earlier(B, 5, 3)], &[(A, 2)]), held, 2), [], "{held:?}");
        }
        let less = found(&census(vec![earlier(B, 5, 3)], &[(A, 1)]), None, 2);
        let expected = "5 rows were delivered by an earlier version, 4 of them are in the database";
        assert!(less.len() == 1 && less[0].0.is_none() && less[0].1.starts_with(expected), "{less:?}");
    }

    #[test]
    fn rows_of_no_delivery_are_named_unless_an_earlier_version_may_have_brought_them() {
        let more = found(&census(vec![sent(A, 5, 5)], &[(A, 1)]), Some(2), 0);
        assert!(more.len() == 1 && more[0].1.starts_with("1 rows of it are in the database that no delivery wrote"));
        assert_eq!(found(&census(vec![sent(A, 5, 5), earlier(B, 6, 5)], &[(A, 1)]), Some(2), 1), []);
        let too_many = found(&census(vec![sent(A, 5, 5), earlier(B, 6, 5)], &[(A, 3)]), Some(2), 1);
        assert!(too_many.len() == 1 && too_many[0].0.as_deref() == Some(A), "{too_many:?}");
    }

    #[test]
    fn files_of_an_earlier_version_are_compared_by_number() {
        let less = found(&census(vec![earlier(A, 5, 4), earlier(B, 6, 7)], &[]), Some(0), 0);
        assert_eq!(less.len(), 2, "{less:?}");
        // B may have brought a row of A's: then only the sum is sure.
        assert_eq!(found(&census(vec![earlier(A, 5, 6), earlier(B, 6, 5)], &[]), Some(1), 1), []);
        let lost = found(&census(vec![earlier(A, 5, 5), earlier(B, 6, 5)], &[]), Some(1), 1);
        assert!(lost.len() == 1 && lost[0].1.starts_with("11 rows were delivered by an earlier version, 10 of them"));
    }

    #[test]
    fn a_marker_that_is_gone_is_told_from_a_delivery_that_is() {
        let shard = ShardId::new(0).unwrap();
        let (nothing, held) = (BTreeMap::new(), BTreeMap::new());
        let delivered = BTreeMap::from([(key(A), 5)]);
        let reported = Reported { shard, delivered: &delivered, released: &nothing, held: &held };
        let gone = compare(&Census::default(), &reported);
        assert_eq!(gone[0].what, "mysql-sender reported 5 rows, the database knows nothing of them");
        let unmarked = BTreeMap::from([(A.to_owned(), 4), (B.to_owned(), 1)]);
        let unmarked = compare(&Census { unmarked, ..Census::default() }, &reported);
        assert_eq!(unmarked.len(), 2, "{unmarked:?}");
        assert!(
            unmarked[0].what.contains("reported 5 rows, 4 are in the database, and their marker in sent_file is gone")
        );
        assert!(unmarked[1].what.contains(&format!("1 rows are in the database as delivered with '{B}'")));
    }
}
