//! Measures the early returns, and sweeps those that no task can ask for any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::base::db::Result;
use crate::base::http::Metrics;
use crate::pipeline::cache::store::CacheStore;

/// Looks between two sweeps: some ten minutes.
const SWEEP_EVERY: u32 = 120;
/// Returns, and notes of tasks, per sweep; one that finds as many is followed by another at the next look.
const SWEEP_MAX: u32 = 5_000;

/// The gauges of the early returns.
#[derive(Clone, Default)]
pub(super) struct Gauges {
    pending: Gauge,
    waiting: Gauge,
    overdue: Gauge,
    oldest: Gauge<f64, AtomicU64>,
    /// Returns that were kept, handed out as released, and handed out as expired, by this process.
    pub(super) held: Counter,
    pub(super) released: Counter,
    pub(super) expired: Counter,
    forgotten: Counter,
    looks: Arc<AtomicU32>,
}

impl Gauges {
    /// Registers the gauges.
    pub(super) fn register(metrics: &Metrics) -> Self {
        let gauges = Self::default();
        metrics.with_registry(|registry| {
            registry.register("pending_returns", "Returns whose task is not done", gauges.pending.clone());
            registry.register("pending_returns_waiting", "Returns that no task has", gauges.waiting.clone());
            let help = "Returns whose time is up and that no task has asked for yet";
            registry.register("pending_returns_overdue", help, gauges.overdue.clone());
            let help = "When the oldest return that waits was handed in; 0 if none waits";
            registry.register("oldest_pending_return_timestamp_seconds", help, gauges.oldest.clone());
            let answered = "Returns in answers of this process, repeated answers included:";
            registry.register("returns_held", format!("{answered} held"), gauges.held.clone());
            registry.register("returns_released", format!("{answered} released"), gauges.released.clone());
            registry.register("returns_expired", format!("{answered} expired"), gauges.expired.clone());
            registry.register("returns_forgotten", "Returns that were done long ago", gauges.forgotten.clone());
        });
        gauges
    }

    /// Looks how much waits; every some looks it sweeps.
    pub(super) async fn look(&self, store: &dyn CacheStore) -> Result<()> {
        let backlog = store.backlog().await?;
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.pending.set(number(backlog.pending));
        self.waiting.set(number(backlog.waiting));
        self.overdue.set(number(backlog.overdue));
        self.oldest.set(backlog.oldest.map_or(0.0, |at| at.unix_ms() as f64 / 1000.0));
        if self.looks.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            let forgotten = store.forget(SWEEP_MAX).await?;
            self.forgotten.inc_by(forgotten.returns);
            if forgotten.is_full(SWEEP_MAX) {
                self.looks.store(0, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use crate::base::db::StoreUrl;
    use crate::base::timestamp::Timestamp;
    use crate::pipeline::cache::open::open_cache;
    use crate::pipeline::cache::store::CachePolicy;

    /// Every task leaves two notes and hardly any a return: the notes alone must keep the sweep going.
    #[tokio::test]
    async fn the_sweep_goes_on_at_the_next_look_while_there_is_more_of_anything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.sqlite");
        let policy = CachePolicy { ttl_ms: 1000, pending_max: 9, retention_ms: 1000 };
        let clock = Clock::manual(Timestamp::from_unix_ms(1_735_689_600_000));
        let store = open_cache(&StoreUrl::Sqlite(path.clone()), clock, policy).await.unwrap();
        let other = rusqlite::Connection::open(path).unwrap();
        let fill = format!(
            "INSERT INTO pending_claim (filename, shard, kind, claimed_at, done_at)
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {})
             SELECT printf('%014d', n), 0, 'shard', '2024-01-01 00:00:00.000', '2024-01-01 00:00:00.000' FROM n",
            2 * SWEEP_MAX + 1
        );
        other.execute_batch(&fill).unwrap();
        let left = || other.query_row("SELECT COUNT(*) FROM pending_claim", [], |row| row.get::<_, u32>(0)).unwrap();
        let gauges = Gauges::default();
        for expected in [SWEEP_MAX + 1, 1, 0] {
            gauges.look(&*store).await.unwrap();
            assert_eq!(left(), expected);
        }
        assert_eq!(gauges.forgotten.get(), 0, "no return was forgotten");
    }
}
