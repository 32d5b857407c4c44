//! What is measured of the returns that wait; and the sweep of those that nobody can ask for any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::http::Metrics;
use crate::store::{PendingStore, Result};

/// Looks between two sweeps: some ten minutes.
const SWEEP_EVERY: u32 = 120;
/// Returns per sweep; one that finds as many is followed by another at the next look.
const SWEEP_MAX: u32 = 5_000;

/// The gauges of the returns that wait.
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
    pub(super) async fn look(&self, store: &dyn PendingStore) -> Result<()> {
        let backlog = store.backlog().await?;
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.pending.set(number(backlog.pending));
        self.waiting.set(number(backlog.waiting));
        self.overdue.set(number(backlog.overdue));
        self.oldest.set(backlog.oldest.map_or(0.0, |at| at.unix_ms() as f64 / 1000.0));
        if self.looks.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            let forgotten = store.forget(SWEEP_MAX).await?;
            self.forgotten.inc_by(forgotten);
            if forgotten >= u64::from(SWEEP_MAX) {
                self.looks.store(0, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
