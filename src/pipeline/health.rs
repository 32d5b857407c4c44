//! A look at a store every few seconds, for its metrics and for `/ready`.

use std::time::Duration;

use async_trait::async_trait;

use crate::base::db::Result;
use crate::base::http::Readiness;
use crate::base::shutdown::Stop;
use crate::pipeline::task::{Class, Repair};

/// Between two looks.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Something that can be looked at.
#[async_trait]
pub(crate) trait HealthProbe: Send + Sync {
    /// What it is called in the log.
    fn name(&self) -> &'static str {
        "database"
    }

    /// Whether its store takes changes.
    async fn ping(&self) -> Result<()>;

    /// Sets the metrics.
    async fn measure(&self) -> Result<()> {
        Ok(())
    }
}

/// Looks until the stop is requested; while the store takes no changes, the role is not ready.
pub(crate) async fn keep_probing(at: &dyn HealthProbe, readiness: Readiness, stop: Stop) {
    tokio::select! {
        () = probe_on(at, readiness) => {}
        () = stop.requested() => {}
    }
}

async fn probe_on(at: &dyn HealthProbe, readiness: Readiness) {
    loop {
        let problem = at.ping().await.err().map(|e| e.to_string());
        if let Some(problem) = &problem {
            log::warn!("the {} does not answer: {problem}", at.name());
        }
        let answers = problem.is_none();
        readiness.set("database", problem.map(|why| Repair::advise(Class::DatabaseAway.tag(why))));
        if answers && let Err(e) = at.measure().await {
            log::warn!("cannot look at the {}: {e}", at.name());
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
}
