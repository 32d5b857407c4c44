//! The progress of each stage in each shard: what waits, which worker holds it, and why nothing moves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use tokio::sync::Mutex;

use super::Api;
use crate::base::db::Result;
use crate::base::http::Problem;
use crate::base::http::fault::to_the_end;
use crate::pipeline::apid::store::{FileQuery, Tracking};
use crate::pipeline::task::wire::{FailedItem, ProgressResponse};
use crate::pipeline::task::{Stage, Status};

/// Failed tasks that are shown.
const FAILED_SHOWN: usize = 50;
/// An answer is good for so many times as long as it took: looking all the time costs a tenth of the database's time.
const TIMES_ITS_COST: u32 = 9;
/// It is never older than this: what has changed is seen soon, however slow the database is.
const GOOD_FOR_MAX: Duration = Duration::from_secs(2);

/// The progress of the stages: what waits, is under way and failed by stage and shard, which worker holds the oldest
/// task, and why nothing moves.
#[utoipa::path(
    get, path = "/status", tag = "files",
    responses((status = 200, description = "How the stages get on.", body = ProgressResponse))
)]
pub(super) async fn status(State(api): State<Api>) -> std::result::Result<axum::Json<ProgressResponse>, Problem> {
    Ok(axum::Json(to_the_end(async move { api.progress.answer(api.tracking.as_ref()).await }).await?))
}

/// The last answer, which all clients share that ask at the same time.
#[derive(Clone, Default)]
pub(super) struct ProgressCache(Arc<Mutex<Option<(ProgressResponse, Instant)>>>);

impl ProgressCache {
    async fn answer(&self, tracking: &dyn Tracking) -> Result<ProgressResponse> {
        let mut last = self.0.lock().await;
        if let Some((answer, good_until)) = last.as_ref()
            && Instant::now() < *good_until
        {
            return Ok(answer.clone());
        }
        let began = Instant::now();
        let answer = read(tracking).await?;
        *last = Some((answer.clone(), Instant::now() + good_for(began.elapsed())));
        Ok(answer)
    }
}

/// How long an answer is good that took so long.
fn good_for(took: Duration) -> Duration {
    took.saturating_mul(TIMES_ITS_COST).min(GOOD_FOR_MAX)
}

async fn read(tracking: &dyn Tracking) -> Result<ProgressResponse> {
    let progress = tracking.progress().await?;
    let (failed, more) = if progress.lanes.iter().any(|lane| lane.failed > 0) {
        list_failed(tracking).await?
    } else {
        (Vec::new(), false)
    };
    Ok(ProgressResponse::new(&progress, failed, more))
}

/// The oldest failed tasks, and whether there are more. Each stage has an index of its own for them.
async fn list_failed(tracking: &dyn Tracking) -> Result<(Vec<FailedItem>, bool)> {
    let mut failed = Vec::new();
    let mut is_more = false;
    for stage in Stage::ALL {
        let limit = u32::try_from(FAILED_SHOWN).unwrap_or(u32::MAX);
        let query = FileQuery { status: Some(Status::Failed), stage: Some(stage), limit, ..FileQuery::default() };
        let page = tracking.list_files(&query).await?;
        is_more |= page.next.is_some();
        for file in &page.files {
            failed.extend(file.shards.iter().filter_map(|view| FailedItem::of(&file.file, view, stage)));
        }
    }
    failed.sort_by(|a, b| (&a.filename, a.shard).cmp(&(&b.filename, b.shard)));
    is_more |= failed.len() > FAILED_SHOWN;
    failed.truncate(FAILED_SHOWN);
    Ok((failed, is_more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_never_older_than_two_seconds() {
        assert_eq!(good_for(Duration::from_millis(10)), Duration::from_millis(90));
        assert_eq!(good_for(Duration::from_secs(20)), Duration::from_secs(2));
    }
}
