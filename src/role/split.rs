//! `shopctl split`: cuts event files into one file per shard.
//!
//! Reads `events/`, writes `shard-splitter/`. Run: `shopctl split`, `shopctl split --once`, or
//! `shopctl split events/20250101000000.event-ingest.txt`, which needs no API.

use std::path::{Path, PathBuf};

use super::daemon::{StagePlan, artifact_of, run_daemon, run_files, run_once, wrong_artifact};
use crate::base::boot::{Exit, Failure};
use crate::base::http::Policy;
use crate::pipeline::claim::driver::Finished;
use crate::pipeline::claim::lease::Lease;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::settings::Context;
use crate::pipeline::settings::principal;
use crate::pipeline::split::{SplitTask, Splitter};
use crate::pipeline::task::Stage;

/// The port that the splitter's probes listen on by default.
pub const PORT: u16 = 8085;
/// Its probes need no token; one of its own lets it listen beyond loopback.
pub const POLICY: Policy = Policy::probes(&[principal::SHARD_SPLITTER]);
/// Tasks per claim: one file with all its ready shards. Files that wait in this process would wait without heartbeats.
const LIMIT: u32 = 1;

/// Cuts event files into one file per shard, every line byte for byte.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl split                 run until stopped
  shopctl split --once          split what is ready and exit
  shopctl split shared/events/20250101000000.event-ingest.txt
                                split this file; the API is not asked or told

Lines that no shard can have go to shard-splitter/rejects/ with their reason.
Exit codes: 0 all well, 1 something failed, 64 bad usage or settings, 75 the API does not answer.")]
pub struct Args {
    /// Split what is ready and exit
    #[arg(long)]
    pub once: bool,
    /// Event files to split without the API; they get pipeline.shards_count shards
    #[arg(conflicts_with = "once", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Splits until the stop is requested, or once.
///
/// # Errors
/// [`Failure`] when the port cannot be bound, the API does not answer a one-shot run, or a file cannot be split.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let folder = Folder::new(&ctx.settings.shared.dir);
    let plan = StagePlan {
        limit: LIMIT,
        shard: None,
        own: folder.splitter(),
        port: PORT,
        policy: POLICY,
        principal: principal::SHARD_SPLITTER,
    };
    let splitter = Splitter::new(folder, ctx.settings.events.max_payload_size);
    if !args.files.is_empty() {
        return tokio::task::spawn_blocking(move || {
            run_files(ctx.name, Stage::ShardSplitter, &args.files, |path| split_file(&ctx, &splitter, path))
        })
        .await?;
    }
    if args.once { run_once(ctx, plan, splitter).await } else { run_daemon(ctx, plan, vec![splitter]).await }
}

fn split_file(ctx: &Context, splitter: &Splitter, path: &Path) -> Result<Vec<Finished>, Failure> {
    let Artifact::Events(file) = artifact_of(path)? else {
        return Err(wrong_artifact(path, "an event file"));
    };
    let count = ctx.settings.pipeline.shards_count;
    let shards = count.shards().map(|shard| (shard, 0)).collect();
    let task = SplitTask { file, source: path.to_owned(), input: None, count, shards };
    Ok(splitter.split(&task, &Lease::unlimited(Stage::ShardSplitter, ctx.stop.clone()))?)
}
