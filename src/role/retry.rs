//! `shopctl retry FILENAME`: gives failed tasks another chance, after a person has looked.
//!
//! Talks to the API. Run: `shopctl retry 20250101000000`.

use serde_json::json;

use crate::base::boot::{Exit, Failure, say};
use crate::base::config::Principal;
use crate::base::log_format::clean;
use crate::base::output::OutputArgs;
use crate::pipeline::apid::client::{Client, Transition};
use crate::pipeline::event::ShardId;
use crate::pipeline::settings::Context;
use crate::pipeline::task::wire::TaskRequest;
use crate::pipeline::task::{FileName, Repair, Stage, TaskKey};

/// Puts the failed tasks of a file back into their queues.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl retry 20250101000000                  every failed task of the file
  shopctl retry 20250101000000 --shard 1        only shard 1
  shopctl retry 20250101000000 --stage shard-splitter --cascade
                                                run the splitter again, and what failed after it:
                                                the way to repair a corrupt splitter file
  shopctl retry 20250101000000 --dry-run        say what would be done

Exit codes: 0 all well, 1 something was refused, 64 bad usage or settings, 75 the API does not answer.")]
pub struct Args {
    /// The file's 14 digits
    #[arg(value_name = "FILENAME")]
    pub file: FileName,
    /// Only this shard, 0 to 127
    #[arg(long, value_name = "N")]
    pub shard: Option<ShardId>,
    /// This stage instead of the one that failed
    #[arg(long)]
    pub stage: Option<Stage>,
    /// Run the stage again even if it is done, together with the failed ones after it
    #[arg(long, requires = "stage")]
    pub cascade: bool,
    /// Say what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Asks for the retries.
///
/// # Errors
/// [`Failure`] when the file is unknown or the API does not answer.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    tokio::task::spawn_blocking(move || retry(&Client::of(&ctx.settings, Principal::OPERATOR), &args)).await?
}

fn retry(client: &Client, args: &Args) -> Result<Exit, Failure> {
    let Some(file) = client.find_file(&args.file)? else {
        return Err(Failure::new(format!("file {} is unknown to the API at {}", args.file, client.base())));
    };
    let (mut asked, mut refused) = (0_u64, 0_u64);
    for shard in file.shards.iter().filter(|shard| args.shard.is_none_or(|only| only == shard.shard)) {
        let Some(stage) = args
            .stage
            .filter(|stage| args.cascade || shard.failed() == Some(*stage))
            .or_else(|| if args.stage.is_some() { None } else { shard.failed() })
        else {
            continue;
        };
        asked += 1;
        let key = TaskKey { file: args.file.clone(), shard: shard.shard };
        if args.dry_run {
            let why = clean(shard.last_error.as_deref().unwrap_or("no reason given"));
            tell(args, &key, stage, "would_retry", &format!("would retry {stage} of {key}: {why}"))?;
            warn_of_the_same_end(args, &key, stage, shard.last_error.as_deref());
            continue;
        }
        let request = TaskRequest { cascade: args.cascade, ..TaskRequest::new(&key) };
        match client.transition(stage, Transition::Retry, &request) {
            Ok(_) => {
                tell(args, &key, stage, "retrying", &format!("retrying {stage} of {key}"))?;
                warn_of_the_same_end(args, &key, stage, shard.last_error.as_deref());
            }
            Err(e) => {
                refused += 1;
                if args.output.is_json() {
                    tell(args, &key, stage, "refused", "")?;
                }
                eprintln!("shopctl: {stage} of {key}: {e}");
            }
        }
    }
    if asked == 0 && !args.output.is_json() {
        say(&format!("nothing of {} has failed\n", args.file))?;
    }
    Ok(if refused == 0 { Exit::Ok } else { Exit::Failed })
}

/// Says so where the repair of a failure is another command than a plain retry.
fn warn_of_the_same_end(args: &Args, key: &TaskKey, stage: Stage, reason: Option<&str>) {
    let repair = Repair::of(key, stage, reason);
    if let Some(command) = repair.another_stage().filter(|_| args.stage.is_none()) {
        eprintln!("shopctl: unless the input was put back this fails again: {}: {command}", repair.what);
    }
}

/// One line, or one object a line, for what is done with a task.
fn tell(args: &Args, key: &TaskKey, stage: Stage, what: &str, line: &str) -> Result<(), Failure> {
    if args.output.is_json() {
        let told = json!({"file": key.file, "shard": key.shard, "stage": stage, "action": what});
        return say(&format!("{told}\n"));
    }
    say(&format!("{line}\n"))
}
