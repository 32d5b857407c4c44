//! Opens a worker, unless its state was lost: with an empty one it would decide what is decided already.

use std::sync::Arc;

use super::remote::RemoteCache;
use super::{LazyWorker, WindowLimits, WorkTerms, Worker, find_decided};
use crate::base::boot::Failure;
use crate::base::clock::Clock;
use crate::base::db;
use crate::pipeline::apid::client::{Client, ClientError};
use crate::pipeline::balance::client::BalanceClient;
use crate::pipeline::boot;
use crate::pipeline::calls::CallObserver;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::event::ShardId;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::rules;
use crate::pipeline::settings::Context;
use crate::pipeline::settings::Settings;
use crate::pipeline::settings::principal;
use crate::pipeline::task::{Class, Stage};

/// Opens a worker. Without `tracking` the progress of the other shards is unknown.
///
/// # Errors
/// Whatever opening the worker's state fails with.
pub fn open(
    settings: &Settings,
    clock: &Clock,
    shard: ShardId,
    tracking: Option<Client>,
    observer: &CallObserver,
) -> db::Result<Worker> {
    let terms = WorkTerms {
        line_bytes_max: settings.events.max_payload_size,
        key_retention_days: settings.worker.key_retention_days,
        policy: rules::TradePolicy { untracked_is_none: settings.worker.untracked_is_none },
        window: WindowLimits::default(),
    };
    let bank = BalanceClient::of(settings, principal::SHARD_WORKER).observed(Arc::clone(observer));
    let cache = RemoteCache::of(settings, tracking).observed(observer);
    let folder = Folder::new(&settings.shared.dir);
    Worker::open(folder, shard, terms, clock.clone(), Box::new(bank), Box::new(cache))
}

/// A worker that is opened now, or with its first task where the API does not say yet whether it may be.
///
/// # Errors
/// [`Failure`] when the state was lost or cannot be opened, or the API does not answer a run that is made `once`.
pub async fn start(ctx: &Context, shard: ShardId, once: bool) -> Result<LazyWorker, Failure> {
    let (settings, clock, observer) = (Arc::clone(&ctx.settings), ctx.clock.clone(), boot::call_observer(ctx));
    let mut worker = LazyWorker::new(move || {
        if let Some(why) = find_loss(&settings, shard)? {
            return Err(Fault::Unavailable(Class::StateLost.tag(why)));
        }
        Ok(open(&settings, &clock, shard, Some(Client::of(&settings, principal::SHARD_WORKER)), &observer)?)
    });
    let settings = Arc::clone(&ctx.settings);
    // What is wrong with the folder is said at once, also when the API does not answer.
    Worker::own_state(&Folder::new(&settings.shared.dir), shard)?;
    tokio::task::spawn_blocking(move || match find_loss(&settings, shard) {
        Ok(Some(why)) => Err(Failure::new(why)),
        Ok(None) => {
            worker.worker()?;
            Ok(worker)
        }
        Err(e) if once => Err(e.into()),
        Err(e) => {
            log::warn!(stage = Stage::ShardWorker.name(), shard = shard.get(); "the state is opened with the first task: {e}");
            Ok(worker)
        }
    })
    .await?
}

/// Why the worker must not begin with an empty state, if so. One that is there was begun when it might be.
fn find_loss(settings: &Settings, shard: ShardId) -> Result<Option<String>, ClientError> {
    let state = Folder::new(&settings.shared.dir).worker_state(shard);
    if state.exists() {
        return Ok(None);
    }
    let decided = find_decided(&Client::of(settings, principal::SHARD_WORKER), shard)?;
    Ok(decided.map(|file| {
        format!(
            "{} is gone, but this worker has decided {file}: put it back from a backup, or make it again with \
             'shopctl work --shard {shard} --rebuild'",
            state.display()
        )
    }))
}
