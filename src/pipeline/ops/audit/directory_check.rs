//! The order directory beside the states of the workers: opens both.

use std::collections::BTreeSet;

use super::money::is_used;
use super::reports::Reports;
use crate::base::boot::Failure;
use crate::pipeline::cache::open::open_cache;
use crate::pipeline::cache::store::CachePolicy;
use crate::pipeline::event::ShardId;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::ops::audit::Findings;
use crate::pipeline::ops::audit::directory::{self, DirectoryState};
use crate::pipeline::schemas;
use crate::pipeline::settings::Context;
use crate::pipeline::task::TaskKey;
use crate::pipeline::work::state::open_worker_snapshot;

/// Compares all orders of the shards whose worker has its state here. A state that is gone is named with the books.
pub(crate) async fn check(ctx: &Context, reports: &Reports) -> Result<Findings, Failure> {
    let states = states(&Folder::new(&ctx.settings.shared.dir)).await?;
    let url = &ctx.settings.database.cache;
    if !is_used(url, &schemas::CACHE).await? {
        let mut found = Findings::nothing("not used");
        for DirectoryState { shard, look } in states {
            if let Some(order) = look.list_outcomes(None, 1).await?.first() {
                let order = order.order_id;
                found.differ(format!(
                    "the worker of shard {shard} has decided orders, {order} among them, but there is no order directory \
                     at {url}; is database.cache right?"
                ));
            }
        }
        return Ok(found);
    }
    let store = open_cache(url, ctx.clock.clone(), CachePolicy::of(&ctx.settings)).await?;
    let seen: BTreeSet<ShardId> = states.iter().map(|state| state.shard).collect();
    let is_away = |shard: &ShardId| reports.shards.contains(shard) && !seen.contains(shard);
    let is_done = |task: &TaskKey| !is_away(&task.shard) && reports.is_worked(task);
    let compared = directory::compare(store.as_ref(), &states, is_done).await;
    store.close().await;
    Ok(compared?)
}

/// The states that are here, each of one moment.
async fn states(folder: &Folder) -> crate::base::db::Result<Vec<DirectoryState>> {
    let mut states = Vec::new();
    for shard in ShardId::all() {
        let path = folder.worker_state(shard);
        if path.exists() {
            states.push(DirectoryState { shard, look: open_worker_snapshot(&path).await? });
        }
    }
    Ok(states)
}
