//! `shopctl send`: delivers prepared files into the shard databases, each once.
//!
//! Reads `shard-worker-N/`, writes the shard databases and receipts into `mysql-sender/`. Run: `shopctl send`,
//! `shopctl send --once`, or with files, which needs no API.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::daemon::{StagePlan, artifact_of, run_daemon, run_files, run_once, wrong_artifact};
use crate::base::boot::{Exit, Failure};
use crate::base::http::{Policy, Readiness};
use crate::pipeline::claim::driver::{FileTask, Finished};
use crate::pipeline::claim::lease::Lease;
use crate::pipeline::event::ShardId;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::send::{Sender, Shards};
use crate::pipeline::settings::Context;
use crate::pipeline::settings::principal;
use crate::pipeline::shard_db::Delivered;
use crate::pipeline::task::{Class, Repair, Stage, TaskKey};
use crate::pipeline::timed;

/// The port that the sender's probes listen on by default.
pub const PORT: u16 = 8086;
/// Its probes need no token; one of its own lets it listen beyond loopback.
pub const POLICY: Policy = Policy::probes(&[principal::MYSQL_SENDER]);
/// Deliveries at the same time, at the most; there is one per shard.
const PARALLEL_MAX: u8 = 8;

/// Between two looks at the shard databases.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Delivers prepared files into the shard databases, each once.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl send             run until stopped
  shopctl send --shard 1   only this shard
  shopctl send --once      deliver what is ready and exit
  shopctl send shared/shard-worker-0/20250101000000.shard-worker.0.prepared.txt
                           deliver this file; the API is not asked or told

A file that was delivered before is not delivered again, however often it is sent.
Exit codes: 0 all well, 1 something failed, 64 bad usage or settings, 75 the API does not answer.")]
pub struct Args {
    /// Deliver this shard only, 0 to 127
    #[arg(long, value_name = "N")]
    pub shard: Option<ShardId>,
    /// Deliver what is ready and exit
    #[arg(long)]
    pub once: bool,
    /// Prepared files to deliver without the API
    #[arg(conflicts_with = "once", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Delivers until the stop is requested, or once.
///
/// # Errors
/// [`Failure`] when the port cannot be bound, the API does not answer a one-shot run, or a file cannot be delivered.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let shards = Shards::new(ctx.settings.database.clone(), ctx.clock.clone());
    let shards = Arc::new(shards.observed(timed::observer(&ctx.metrics)));
    let result = deliver(ctx, args, &shards).await;
    shards.close().await;
    result
}

async fn deliver(ctx: Context, args: Args, shards: &Arc<Shards>) -> Result<Exit, Failure> {
    let folder = Folder::new(&ctx.settings.shared.dir);
    let plan = StagePlan {
        limit: 1,
        shard: args.shard,
        own: folder.sender(),
        port: PORT,
        policy: POLICY,
        principal: principal::MYSQL_SENDER,
    };
    let line_bytes = ctx.settings.events.max_payload_size;
    let new_sender = || Sender::new(folder.clone(), Arc::clone(shards), line_bytes);
    if !args.files.is_empty() {
        let sender = new_sender();
        return tokio::task::spawn_blocking(move || {
            run_files(ctx.name, Stage::MysqlSender, &args.files, |path| send_file(&ctx, &sender, path))
        })
        .await?;
    }
    if args.once {
        return run_once(ctx, plan, new_sender()).await;
    }
    let parallel = if args.shard.is_some() { 1 } else { ctx.settings.pipeline.shards_count.get().min(PARALLEL_MAX) };
    let senders = (0..parallel).map(|_| new_sender()).collect();
    let watched = ctx.settings.pipeline.shards_count.shards();
    let watched = watched.filter(|shard| args.shard.is_none_or(|only| only == *shard)).collect();
    let mut probing = tokio::spawn(keep_probing(Arc::clone(shards), watched, ctx.readiness.clone()));
    let stop = ctx.stop.clone();
    let mut daemon = Box::pin(run_daemon(ctx, plan, senders));
    tokio::select! {
        result = &mut daemon => {
            probing.abort();
            result
        }
        // It ends by a panic only. Without it `/ready` would say of a database what was true once.
        ended = &mut probing => {
            stop.request();
            let drained = daemon.await;
            ended?;
            drained
        }
    }
}

/// Says at `/ready` whether the shard databases take changes, also while there is nothing to deliver.
async fn keep_probing(shards: Arc<Shards>, watched: Vec<ShardId>, readiness: Readiness) {
    let mut known = None;
    loop {
        let problem = look(&shards, &watched).await.err().map(|e| Class::DatabaseAway.tag(e));
        if let Some(problem) = problem.as_ref().filter(|problem| known.as_ref() != Some(*problem)) {
            log::warn!(stage = Stage::MysqlSender.name(); "a shard database does not answer: {problem}");
        }
        readiness.set("database", problem.clone().map(Repair::advise));
        known = problem;
        tokio::time::sleep(PROBE_EVERY).await;
    }
}

async fn look(shards: &Shards, watched: &[ShardId]) -> crate::base::db::Result<()> {
    for shard in watched {
        shards.get(*shard).await?.ping().await?;
    }
    Ok(())
}

fn send_file(ctx: &Context, sender: &Sender, path: &Path) -> Result<Vec<Finished>, Failure> {
    let task = task_of(path)?;
    let (finished, delivered) = sender.send(&task, &Lease::unlimited(Stage::MysqlSender, ctx.stop.clone()))?;
    if delivered == Delivered::Before {
        log::info!(file = task.key.file.as_str(), shard = task.key.shard.get(); "was delivered before");
    }
    Ok(vec![finished])
}

fn task_of(path: &Path) -> Result<FileTask, Failure> {
    match artifact_of(path)? {
        Artifact::Prepared(file, shard) => {
            Ok(FileTask { key: TaskKey { file, shard }, source: path.to_owned(), input: None, token: 0 })
        }
        _ => Err(wrong_artifact(path, "a prepared file")),
    }
}
