//! Measures the tracking database, for the metrics. The numbers are looked up every few seconds, so that a scrape costs
//! nothing.
//!
//! A look counts the open tasks, and the tasks that were registered since the last look, so that its cost does not grow
//! with the history. All other tasks are done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::super::health::{HealthProbe, keep_probing};
use super::Api;
use crate::base::db::Result;
use crate::base::http::{Metrics, Readiness};
use crate::base::timestamp::Timestamp;
use crate::pipeline::apid::store::TaskTally;
use crate::pipeline::event::{ShardCount, ShardId};
use crate::pipeline::task::{Stage, Status};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    stage: &'static str,
    shard: u8,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    stage: &'static str,
    shard: u8,
}

type Seconds = Gauge<f64, AtomicU64>;

/// The gauges of the tracking store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    tasks: Family<TaskLabels, Gauge>,
    oldest: Seconds,
    oldest_of: Family<LaneLabels, Seconds>,
    registered: Arc<Mutex<Registered>>,
}

/// How many tasks every shard has. They are counted once: from row to row, and again only while a registration with a
/// lower number could still be on its way.
#[derive(Debug, Clone, Default)]
struct Registered {
    mark: u64,
    settled: BTreeMap<ShardId, u64>,
}

impl Registered {
    /// Takes what was registered behind the mark; answers all tasks by shard.
    fn take(&mut self, tally: &TaskTally) -> BTreeMap<ShardId, u64> {
        for new in tally.registered.iter().filter(|new| new.is_settled) {
            *self.settled.entry(new.shard).or_default() += new.tasks;
            self.mark = self.mark.max(new.last);
        }
        let mut all = self.settled.clone();
        for new in tally.registered.iter().filter(|new| !new.is_settled) {
            *all.entry(new.shard).or_default() += new.tasks;
        }
        all
    }
}

impl Gauges {
    /// Registers the gauges. Of these shards there are gauges before they have a task.
    pub(super) fn register(metrics: &Metrics, shards: ShardCount) -> Self {
        let gauges = Self::default();
        let settled = shards.shards().map(|shard| (shard, 0)).collect();
        *gauges.registered.lock().unwrap_or_else(PoisonError::into_inner) = Registered { mark: 0, settled };
        metrics.with_registry(|registry| {
            registry.register("stage_tasks", "Tasks by stage, shard and status", gauges.tasks.clone());
            let help = "Registration of the oldest task that is neither delivered nor failed; 0 if there is none";
            registry.register("oldest_pending_task_timestamp_seconds", help, gauges.oldest.clone());
            let help = "Registration of the oldest task that waits for this stage or is in it; absent if there is none";
            registry.register("stage_oldest_task_timestamp_seconds", help, gauges.oldest_of.clone());
        });
        gauges
    }

    fn mark(&self) -> u64 {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner).mark
    }

    /// Shows a tally.
    fn set(&self, tally: &TaskTally) {
        let registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner).take(tally);
        let mut open: BTreeMap<(Stage, ShardId), u64> = BTreeMap::new();
        let mut counts: BTreeMap<(Stage, ShardId, Status), u64> = BTreeMap::new();
        for tasks in &tally.open {
            *open.entry((tasks.stage, tasks.shard)).or_default() += tasks.tasks;
            counts.insert((tasks.stage, tasks.shard, tasks.status), tasks.tasks);
        }
        for (shard, all) in registered {
            for stage in Stage::ALL {
                let done = all.saturating_sub(open.get(&(stage, shard)).copied().unwrap_or_default());
                for status in Status::ALL {
                    let count = counts.get(&(stage, shard, status)).copied().unwrap_or_default();
                    let count = if status == Status::Done { done } else { count };
                    let labels = TaskLabels { stage: stage.name(), shard: shard.get(), status: status.name() };
                    self.tasks.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
                }
            }
        }
        self.set_oldest(tally);
    }

    fn set_oldest(&self, tally: &TaskTally) {
        let mut oldest: BTreeMap<(Stage, ShardId), Timestamp> = BTreeMap::new();
        for tasks in &tally.open {
            if let Some(at) = tasks.oldest {
                let of_lane = oldest.entry((tasks.stage, tasks.shard)).or_insert(at);
                *of_lane = at.min(*of_lane);
            }
        }
        let seconds = |at: Timestamp| at.unix_ms() as f64 / 1000.0;
        self.oldest.set(oldest.values().min().map_or(0.0, |at| seconds(*at)));
        let shards: BTreeSet<ShardId> = tally.open.iter().map(|tasks| tasks.shard).collect();
        let known = self.registered.lock().unwrap_or_else(PoisonError::into_inner).settled.keys().copied().collect();
        for shard in shards.union(&known) {
            for stage in Stage::ALL {
                let labels = LaneLabels { stage: stage.name(), shard: shard.get() };
                match oldest.get(&(stage, *shard)) {
                    Some(at) => drop(self.oldest_of.get_or_create(&labels).set(seconds(*at))),
                    None => drop(self.oldest_of.remove(&labels)),
                }
            }
        }
    }
}

#[async_trait]
impl HealthProbe for (Api, Gauges) {
    fn name(&self) -> &'static str {
        "tracking database"
    }

    // A database that can only be read is no use: the ping writes.
    async fn ping(&self) -> Result<()> {
        self.0.takeover_delay.watch(self.0.tracking.ping()).await
    }

    async fn measure(&self) -> Result<()> {
        let (api, gauges) = self;
        gauges.set(&api.tracking.tally(gauges.mark()).await?);
        Ok(())
    }
}

/// Keeps the gauges and the readiness up to date until the stop is requested.
pub(crate) async fn keep_gauges(api: Api, gauges: Gauges, readiness: Readiness) {
    let stop = api.stop.clone();
    keep_probing(&(api, gauges), readiness, stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::apid::store::{NewTasks, OpenTasks};

    fn shard(number: u64) -> ShardId {
        ShardId::new(number).unwrap()
    }

    fn new(number: u64, tasks: u64, is_settled: bool, last: u64) -> NewTasks {
        NewTasks { shard: shard(number), tasks, is_settled, last }
    }

    #[test]
    fn what_is_not_open_is_done_and_what_is_settled_is_counted_once() {
        let gauges = Gauges::default();
        let open = |tasks, oldest: Option<i64>| OpenTasks {
            stage: Stage::ShardWorker,
            shard: shard(1),
            status: Status::New,
            tasks,
            oldest: oldest.map(Timestamp::from_unix_ms),
        };
        let first = TaskTally {
            open: vec![open(3, Some(7_500))],
            registered: vec![new(1, 10, true, 40), new(1, 2, false, 42)],
        };
        gauges.set(&first);
        let count = |stage: Stage, status: Status| {
            gauges.tasks.get_or_create(&TaskLabels { stage: stage.name(), shard: 1, status: status.name() }).get()
        };
        assert_eq!((count(Stage::ShardWorker, Status::New), count(Stage::ShardWorker, Status::Done)), (3, 9));
        assert_eq!((count(Stage::EventIngest, Status::Done), gauges.mark(), gauges.oldest.get()), (12, 40, 7.5));
        // The next look counts from the mark on: the two young ones again, and one more.
        gauges.set(&TaskTally { open: vec![], registered: vec![new(1, 2, true, 42), new(1, 1, false, 43)] });
        assert_eq!((count(Stage::ShardWorker, Status::New), count(Stage::ShardWorker, Status::Done)), (0, 13));
        assert_eq!((gauges.mark(), gauges.oldest.get()), (42, 0.0));
        let lane = LaneLabels { stage: Stage::ShardWorker.name(), shard: 1 };
        assert!(!gauges.oldest_of.remove(&lane), "absent where nothing waits");
    }
}
