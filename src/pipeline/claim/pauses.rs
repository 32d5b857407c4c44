//! Pauses shards for a while after work for them was given back as unavailable.
//!
//! A shard database that is away or read-only must not keep the tasks of the other shards waiting. Without a pause its
//! oldest task would be handed out again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::base::backoff::Backoff;
use crate::pipeline::event::{ShardCount, ShardId};

/// Between two rounds in which no shard had work, while others are paused.
const ROUND_PAUSE: Duration = Duration::from_millis(500);
/// Answers without work after which a shard counts as well: another loop may have had its task each time.
const EMPTY_MAX: u32 = 3;

/// The shards that are paused.
#[derive(Debug)]
pub(super) struct Pauses {
    /// How long the pauses of a shard are.
    backoff: Backoff,
    paused: BTreeMap<ShardId, Pause>,
    shards: Vec<ShardId>,
    /// Which shard is next.
    turn: usize,
    /// Shards in a row that had no work.
    empty: usize,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    /// How long the pause after it is.
    backoff: Backoff,
    /// How often in a row there was no work for the shard.
    empty: u32,
}

/// What to ask the API for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Work for any shard.
    Any,
    /// Work for this shard, without waiting for it.
    Shard(ShardId),
    /// Nothing for so long.
    Later(Duration),
}

impl Pauses {
    /// No shard is paused yet. Pauses of the same shard in a row become longer as this backoff says.
    pub(super) const fn new(backoff: Backoff) -> Self {
        Self { backoff, paused: BTreeMap::new(), shards: Vec::new(), turn: 0, empty: 0 }
    }

    /// Work for this shard was given back as unavailable.
    pub(super) fn begin(&mut self, shard: ShardId, of: ShardCount, now: Instant) {
        self.shards = of.shards().collect();
        let mut backoff = self.paused.remove(&shard).map_or_else(|| self.backoff.clone(), |pause| pause.backoff);
        let until = now + backoff.next_wait();
        self.paused.insert(shard, Pause { until, backoff, empty: 0 });
        self.empty = 0;
    }

    /// Work for this shard succeeded.
    pub(super) fn end(&mut self, shard: ShardId) {
        self.paused.remove(&shard);
        self.empty = 0;
    }

    /// There is no work for this shard.
    pub(super) fn nothing(&mut self, shard: ShardId) {
        self.empty += 1;
        if let Some(pause) = self.paused.get_mut(&shard) {
            pause.empty += 1;
            if pause.empty >= EMPTY_MAX {
                self.paused.remove(&shard);
            }
        }
    }

    /// Whether a shard is paused.
    pub(super) fn is_any(&self) -> bool {
        !self.paused.is_empty()
    }

    /// What is next: the shards that are not paused, or not any longer, in turn.
    pub(super) fn ask(&mut self, now: Instant) -> Ask {
        if self.paused.is_empty() {
            return Ask::Any;
        }
        let is_due = |shard: &ShardId| self.paused.get(shard).is_none_or(|pause| pause.until <= now);
        let due: Vec<ShardId> = self.shards.iter().copied().filter(is_due).collect();
        if due.is_empty() {
            let first = self.paused.values().map(|pause| pause.until).min().unwrap_or(now);
            return Ask::Later(first.saturating_duration_since(now));
        }
        if self.empty >= due.len() {
            self.empty = 0;
            return Ask::Later(ROUND_PAUSE);
        }
        self.turn = self.turn.wrapping_add(1);
        Ask::Shard(due[self.turn % due.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u64) -> ShardId {
        ShardId::new(number).unwrap()
    }

    fn none() -> Pauses {
        Pauses::new(Backoff::new(Duration::from_secs(1), Duration::from_secs(8)))
    }

    #[test]
    fn the_other_shards_are_asked_in_turn_and_the_paused_one_when_its_time_is_over() {
        let (mut pauses, now, of) = (none(), Instant::now(), ShardCount::new(3).unwrap());
        assert_eq!(pauses.ask(now), Ask::Any);
        pauses.begin(shard(1), of, now);
        let mut asked: Vec<Ask> = (0..4).map(|_| pauses.ask(now)).collect();
        asked.sort_by_key(|ask| format!("{ask:?}"));
        let others = [0, 0, 2, 2].map(|number| Ask::Shard(shard(number)));
        assert_eq!(asked, others);
        pauses.nothing(shard(0));
        pauses.nothing(shard(2));
        assert_eq!(pauses.ask(now), Ask::Later(ROUND_PAUSE), "no shard has work");
        let later = now + Duration::from_secs(1);
        let asked: Vec<Ask> = (0..3).map(|_| pauses.ask(later)).collect();
        assert!(asked.contains(&Ask::Shard(shard(1))), "{asked:?}");
        pauses.begin(shard(1), of, later);
        assert!(!(0..3).any(|_| pauses.ask(later + Duration::from_secs(1)) == Ask::Shard(shard(1))), "twice as long");
        pauses.end(shard(1));
        assert_eq!(pauses.ask(later), Ask::Any);
    }

    #[test]
    fn where_all_are_paused_nothing_is_asked_until_the_first_is_due() {
        let (mut pauses, now, of) = (none(), Instant::now(), ShardCount::new(2).unwrap());
        pauses.begin(shard(0), of, now);
        pauses.begin(shard(0), of, now);
        pauses.begin(shard(1), of, now);
        assert_eq!(pauses.ask(now), Ask::Later(Duration::from_secs(1)));
        // A shard that has nothing left to do is in no trouble.
        for _ in 0..EMPTY_MAX {
            assert_ne!(pauses.ask(now), Ask::Any);
            pauses.nothing(shard(0));
            pauses.nothing(shard(1));
        }
        assert_eq!(pauses.ask(now), Ask::Any);
    }
}
