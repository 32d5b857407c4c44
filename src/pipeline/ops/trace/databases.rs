//! The shard databases of a trace: whichever are there. None is made by looking at it.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::boot::Failure;
use crate::pipeline::event::ShardId;
use crate::pipeline::settings::Context;
use crate::pipeline::shard_db::store::{find_shard_database, open_shard};
use crate::pipeline::shard_db::trace::{Question, TraceAnswer};

/// Asks every shard's database that is there.
pub(crate) async fn ask(
    ctx: &Context,
    named: &BTreeSet<ShardId>,
    question: &Question,
) -> Result<BTreeMap<ShardId, TraceAnswer>, Failure> {
    let mut answers = BTreeMap::new();
    for shard in ShardId::all() {
        if let Some(url) = find_shard_database(&ctx.settings, shard, named.contains(&shard))? {
            let store = open_shard(&url, ctx.clock.clone()).await?;
            let answer = store.ask(shard, question.clone()).await;
            store.close().await;
            answers.insert(shard, answer?);
        }
    }
    Ok(answers)
}
