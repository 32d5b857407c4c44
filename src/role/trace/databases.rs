//! The databases of a trace: whichever are there. None is made by looking at it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::apid;
use crate::boot::{Context, Failure};
use crate::event::ShardId;
use crate::event::shard::SHARD_MAX;
use crate::store::trace::{Answer, Question};
use crate::store::{self, Tracking};

/// The tracking database; none where there is no embedded one.
pub(super) async fn tracking(ctx: &Context) -> Result<Option<Arc<dyn Tracking>>, Failure> {
    let url = &ctx.settings.database.tracking;
    if url.embedded_exists() == Some(false) {
        return Ok(None);
    }
    Ok(Some(store::open_tracking(url, ctx.clock.clone(), apid::policy(&ctx.settings)).await?))
}

/// Asks every shard's database that is there. On a server those of the settings are, and those that are named.
pub(super) async fn ask(
    ctx: &Context,
    named: &BTreeSet<ShardId>,
    question: &Question,
) -> Result<BTreeMap<ShardId, Answer>, Failure> {
    let mut answers = BTreeMap::new();
    for shard in (0..=u64::from(SHARD_MAX)).filter_map(ShardId::new) {
        let url = ctx.settings.database.shard(shard).map_err(Failure::usage)?;
        let expected = named.contains(&shard) || shard.get() < ctx.settings.pipeline.shards_count.get();
        if url.embedded_exists().unwrap_or(expected) {
            let store = store::open_shard(&url, ctx.clock.clone()).await?;
            let answer = store.ask(shard, question.clone()).await;
            store.close().await;
            answers.insert(shard, answer?);
        }
    }
    Ok(answers)
}
