//! Which rejected lines are meant, on the command line.

use crate::pipeline::event::{Reason, ShardId};
use crate::pipeline::ops::dead_letters::{FileRange, Filter, Prefix};
use crate::pipeline::task::Stage;

/// Which lines.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct FilterArgs {
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
