//! What minutes add up to, for all doors.

use std::collections::BTreeMap;
use std::time::Duration;

use super::model::{EventType, Minute, Total};
use super::store::{HubStore, KeptMinute};
use crate::base::db::Result;
use crate::base::timestamp::Timestamp;

/// Whole minutes of one [`recent`] at the most: a day.
pub const MINUTES_MAX: u32 = 1440;
/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);

/// Checks the range of a list of minutes.
///
/// # Errors
/// A sentence for the caller: the range is too long for one call.
pub fn check_range(from: Timestamp, to: Timestamp) -> std::result::Result<(), String> {
    if to > from.plus(MINUTE * (MINUTES_MAX + 1)) {
        return Err(format!("from and to are more than {MINUTES_MAX} minutes apart; make several calls"));
    }
    Ok(())
}

/// What the events of some minutes add up to, by the time at which they happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// The whole minutes that were asked for; the running one is in it, too.
    pub minutes: u32,
    /// The begin.
    pub from: Timestamp,
    /// The end, not included.
    pub to: Timestamp,
    /// How many events.
    pub count: u64,
    /// Their sum.
    pub sum: Total,
    /// The same by type, in the order of the names.
    pub by_type: Vec<TypeTotal>,
}

/// What the events of one type add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeTotal {
    /// The type.
    pub event_type: EventType,
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: Total,
}

impl Totals {
    /// The name of the window, as the hub's first version wrote it.
    pub fn time_window(&self) -> String {
        format!("last_{}_minutes", self.minutes)
    }
}

/// What the last whole minutes and the running one add up to. `minutes` is 1 to [`MINUTES_MAX`].
///
/// # Errors
/// The store's.
pub async fn recent(store: &dyn HubStore, now: Timestamp, minutes: u32) -> Result<Totals> {
    let running = Minute::begin_of(now);
    let from = running.minus(MINUTE * minutes);
    let to = running.plus(MINUTE);
    let kept = store.list_minutes(from, to, None).await?;
    Ok(add_up(minutes, from, to, &kept))
}

fn add_up(minutes: u32, from: Timestamp, to: Timestamp, kept: &[KeptMinute]) -> Totals {
    let mut by_type: BTreeMap<&EventType, (u64, Total)> = BTreeMap::new();
    for KeptMinute { minute, .. } in kept {
        let (count, sum) = by_type.entry(&minute.event_type).or_default();
        *count += minute.count;
        *sum = sum.plus(minute.sum);
    }
    let total = |(event_type, (count, sum)): (&EventType, (u64, Total))| TypeTotal {
        event_type: event_type.clone(),
        count,
        sum,
    };
    let by_type: Vec<TypeTotal> = by_type.into_iter().map(total).collect();
    Totals {
        minutes,
        from,
        to,
        count: by_type.iter().map(|total| total.count).sum(),
        sum: by_type.iter().fold(Total::default(), |sum, total| sum.plus(total.sum)),
        by_type,
    }
}
