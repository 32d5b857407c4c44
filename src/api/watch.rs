//! A look at a store every few seconds, for its metrics and for `/ready`.

use std::time::Duration;

use async_trait::async_trait;

use crate::http::Readiness;
use crate::shutdown::Stop;
use crate::store::Result;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Something that can be looked at.
#[async_trait]
pub(super) trait Look: Send + Sync {
    /// Looks.
    async fn look(&self) -> Result<()>;
}

/// Looks until the stop is requested; while a look fails, the role is not ready.
pub(super) async fn keep_looking(at: &dyn Look, readiness: Readiness, stop: Stop) {
    loop {
        let problem = at.look().await.err().map(|e| e.to_string());
        if let Some(problem) = &problem {
            log::warn!("cannot look at the database: {problem}");
        }
        readiness.set("database", problem);
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.requested() => return,
        }
    }
}
