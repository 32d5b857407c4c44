//! `shopctl rejects`: rejected lines, for people: how many, which, and once more.
//!
//! Reads the rejects folders of the stages and the notes in `events/redrives/`; `redrive` writes new event files and
//! tells the API of them. Run: `shopctl rejects list`, `shopctl rejects show FILE:LINE`, `shopctl rejects redrive`.

mod list;
mod redrive;
mod redrive_text;
mod show;
mod text;

use crate::base::boot::{Context, Exit, Failure};
use crate::pipeline::event::{Reason, ShardId};
use crate::pipeline::ops::dead_letters::{FileRange, Filter, Prefix};
use crate::pipeline::task::Stage;

/// Looks at rejected lines, and has them decided anew.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl rejects list                               how many lines each stage refused, and why
  shopctl rejects list --by detail                   the same by what is wrong with them
  shopctl rejects list --lines --reason shop_closed  which ones
  shopctl rejects show 20250101000000:17             one of them, whole
  shopctl rejects redrive --all --dry-run            what would be decided anew
  shopctl rejects redrive --reason shop_closed       have it decided anew

Rejects files are never changed. docs/errors.md says what each reason means and what to do.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Count rejected lines by stage and reason, or list them
    List(list::Args),
    /// Show one rejected line, and what came of it
    Show(show::Args),
    /// Put rejected lines into new event files, so that they are decided anew
    Redrive(redrive::Args),
}

/// Which lines.
#[derive(Debug, Clone, Default, clap::Args)]
struct FilterArgs {
    /// Refused by this stage: shard-splitter or shard-worker
    #[arg(long, value_parser = stage, value_name = "STAGE")]
    stage: Vec<Stage>,
    /// Refused for this reason; given again, for any of them
    #[arg(long, value_parser = reason, value_name = "CODE")]
    reason: Vec<Reason>,
    /// From this event file: 14 digits, the first 4 to 12 of them, or a range as in 20250101..20250107
    #[arg(long, value_name = "FILE")]
    file: Option<FileRange>,
    /// From event files of this time or later, as in 2025-01-01 or '2025-01-01 17:25'
    #[arg(long, value_parser = Prefix::of_moment, value_name = "TIME")]
    since: Option<Prefix>,
    /// From event files of this time or earlier; a day holds all of it
    #[arg(long, value_parser = Prefix::of_moment, value_name = "TIME")]
    until: Option<Prefix>,
    /// Refused by the worker of this shard; lines of the splitter are of none
    #[arg(long, value_name = "N")]
    shard: Option<ShardId>,
}

impl From<&FilterArgs> for Filter {
    fn from(args: &FilterArgs) -> Self {
        Self {
            stages: args.stage.clone(),
            reasons: args.reason.clone(),
            files: args.file.clone(),
            since: args.since.clone(),
            until: args.until.clone(),
            shard: args.shard,
        }
    }
}

fn stage(text: &str) -> Result<Stage, String> {
    let found = text.parse::<Stage>().ok().filter(|stage| matches!(stage, Stage::ShardSplitter | Stage::ShardWorker));
    found.ok_or_else(|| "only shard-splitter and shard-worker reject lines".to_owned())
}

fn reason(text: &str) -> Result<Reason, String> {
    Reason::from_code(text).ok_or_else(|| {
        let codes = Reason::ALL.map(Reason::code);
        let close = codes.into_iter().find(|code| strsim::damerau_levenshtein(code, text) <= 2);
        close.map_or_else(
            || format!("the reasons are {}", codes.join(", ")),
            |close| format!("there is no such reason; did you mean {close}?"),
        )
    })
}

/// Does what was asked.
///
/// # Errors
/// [`Failure`] when something cannot be read or written, or the API does not answer a redrive.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    tokio::task::spawn_blocking(move || match args.command {
        Command::List(args) => list::run(&ctx, &args),
        Command::Show(args) => show::run(&ctx, &args),
        Command::Redrive(args) => redrive::run(&ctx, &args),
    })
    .await?
}
