//! `shopctl work --shard N`: checks one shard's events against the rules.
//!
//! Reads `shard-splitter/`, writes `shard-worker-N/`: prepared lines, rejects, and what the worker has to remember.
//! Run: `shopctl work --shard 0`, `shopctl work --shard 0 --once`, or with files, which needs no API.

use std::path::{Path, PathBuf};

use super::daemon::{StagePlan, artifact_of, run_daemon, run_files, run_once, wrong_artifact};
use crate::base::boot::{Exit, Failure};
use crate::base::http::Policy;
use crate::pipeline::boot;
use crate::pipeline::claim::driver::FileTask;
use crate::pipeline::claim::lease::Lease;
use crate::pipeline::event::ShardId;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::ops::rebuild;
use crate::pipeline::settings::Context;
use crate::pipeline::settings::principal;
use crate::pipeline::task::{Stage, TaskKey};
use crate::pipeline::work::start;

/// The port that the probes of shard 0's worker listen on by default; the shard is added.
pub const PORT: u16 = 8100;
/// Its probes need no token; one of its own lets it listen beyond loopback.
pub const POLICY: Policy = Policy::probes(&[principal::SHARD_WORKER]);

/// Checks one shard's events against the rules and prepares them for the sender.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl work --shard 0          run until stopped
  SHARD_ID=1 shopctl work         the same for shard 1
  shopctl work --shard 0 --once   work on what is ready and exit
  shopctl work --shard 0 shared/shard-splitter/20250101000000.shard-splitter.0.txt
                                  work on this file; the API is not asked or told
  shopctl work --shard 0 --rebuild
                                  make the state again after it was lost; reads the databases

One worker per shard: files of a shard are worked on in their order.
Exit codes: 0 all well, 1 something failed, 64 bad usage or settings, 75 the API does not answer.")]
pub struct Args {
    /// The shard to work on, 0 to 127
    #[arg(long, env = "SHARD_ID", value_name = "N")]
    pub shard: ShardId,
    /// Work on what is ready and exit
    #[arg(long)]
    pub once: bool,
    /// Make the worker's state again from the databases and the files that are there
    #[arg(long, conflicts_with_all = ["once", "files"])]
    pub rebuild: bool,
    /// With --rebuild: put a state aside that is there
    #[arg(long, requires = "rebuild")]
    pub force: bool,
    /// Splitter files to work on without the API
    #[arg(conflicts_with = "once", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

impl Args {
    /// What the daemon of this shard is run with.
    pub fn of(shard: ShardId) -> Self {
        Self { shard, once: false, rebuild: false, force: false, files: Vec::new() }
    }
}

/// Works until the stop is requested, or once.
///
/// # Errors
/// [`Failure`] when the port or the state cannot be opened, the state was lost, the API does not answer a one-shot run, or a file cannot
/// be worked on.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    if args.rebuild {
        return rebuild::run(&ctx, args.shard, args.force).await;
    }
    let folder = Folder::new(&ctx.settings.shared.dir);
    let port = PORT + u16::from(args.shard.get());
    let plan = StagePlan {
        limit: 1,
        shard: Some(args.shard),
        own: folder.worker(args.shard),
        port,
        policy: POLICY,
        principal: principal::SHARD_WORKER,
    };
    if !args.files.is_empty() {
        // A file of another shard is refused before the worker's state is made.
        for path in &args.files {
            task_of(path, args.shard)?;
        }
        let observer = boot::call_observer(&ctx);
        let mut worker = start::open(&ctx.settings, &ctx.clock, args.shard, None, &observer)?;
        return tokio::task::spawn_blocking(move || {
            let lease = Lease::unlimited(Stage::ShardWorker, ctx.stop.clone());
            run_files(ctx.name, Stage::ShardWorker, &args.files, |path| {
                let task = task_of(path, args.shard)?;
                let finished = worker.work_on(&task, &lease)?;
                worker.reported(&task.key);
                Ok(vec![finished])
            })
        })
        .await?;
    }
    let worker = start::start(&ctx, args.shard, args.once).await?;
    if args.once { run_once(ctx, plan, worker).await } else { run_daemon(ctx, plan, vec![worker]).await }
}

fn task_of(path: &Path, shard: ShardId) -> Result<FileTask, Failure> {
    match artifact_of(path)? {
        Artifact::Split(file, own) if own == shard => {
            Ok(FileTask { key: TaskKey { file, shard }, source: path.to_owned(), input: None, token: 0 })
        }
        _ => Err(wrong_artifact(path, &format!("a splitter's file of shard {shard}"))),
    }
}
