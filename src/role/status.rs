//! `shopctl status`: the state of the pipeline on one screen.
//!
//! Talks to the API. Run: `shopctl status`, `shopctl status --json`.

use crate::boot::{Context, Exit, Failure, say, say_json};
use crate::log_format::clean;
use crate::output::OutputArgs;
use crate::pipeline::client::Client;
use crate::task::wire::{FileResponse, ShardItem, SummaryResponse};
use crate::task::{Stage, Status};

/// Failed tasks that are shown one by one.
const FAILED_SHOWN: u32 = 10;

/// Shows the state of the pipeline on one screen.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl status
  shopctl status --json | jq .by_stage

Exit codes: 0 nothing has failed, 1 there are failed tasks, 64 bad usage or settings, 75 the API does not answer.")]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

/// Prints the state.
///
/// # Errors
/// [`Failure`] when the API does not answer.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    tokio::task::spawn_blocking(move || {
        let client = Client::new(&ctx.settings.pipeline.url);
        let summary = client.summary()?;
        let failed = client.files_page(Some((Status::Failed, None)), None, FAILED_SHOWN)?;
        if args.output.is_json() {
            say_json(&summary)?;
        } else {
            say(&screen(&summary, &failed.items, failed.next_cursor.is_some()))?;
        }
        let any_failed = Stage::ALL.into_iter().any(|stage| summary.by_stage.of(stage).failed > 0);
        Ok(if any_failed { Exit::Failed } else { Exit::Ok })
    })
    .await?
}

/// What to do about a failed task. An artifact that is not what was reported has to be made again by the stage before;
/// where something else is wrong, the same would come of it.
fn advice(file: &str, shard: &ShardItem, stage: Stage) -> String {
    let is_other = |why: &str| why.starts_with("corrupt") && why.contains("reported");
    let is_other = shard.last_error.as_deref().is_some_and(is_other);
    match stage.previous().filter(|previous| is_other && *previous != Stage::EventIngest) {
        Some(previous) => {
            format!("to make the file again: shopctl retry {file} --shard {} --stage {previous} --cascade", shard.shard)
        }
        None => format!("after repair: shopctl retry {file}"),
    }
}

fn screen(summary: &SummaryResponse, failed: &[FileResponse], is_more: bool) -> String {
    let mut text = format!("{:<16}{:>10}{:>10}{:>10}{:>10}\n", "stage", "new", "started", "done", "failed");
    for stage in Stage::ALL {
        let n = summary.by_stage.of(stage);
        text.push_str(&format!("{:<16}{:>10}{:>10}{:>10}{:>10}\n", stage.name(), n.new, n.started, n.done, n.failed));
    }
    text.push('\n');
    for shard in &summary.by_shard {
        let name = format!("shard {}", shard.shard);
        text.push_str(&format!("{name:<16}{} of {} tasks delivered\n", shard.done, shard.total));
    }
    for file in failed {
        for shard in &file.shards {
            if let Some(stage) = shard.failed() {
                let why = clean(shard.last_error.as_deref().unwrap_or("no reason given"));
                text.push_str(&format!("\nfailed: {} shard {} {stage}: {why}\n", file.filename, shard.shard));
                text.push_str(&format!("        {}\n", advice(file.filename.as_str(), shard, stage)));
            }
        }
    }
    if is_more {
        text.push_str("\nand more files with failed tasks: GET /api/v1/files?status=failed lists all\n");
    }
    text
}
