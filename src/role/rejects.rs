//! `shopctl rejects`: rejected lines, for people: how many, which, and once more.
//!
//! Reads the rejects folders of the stages and the notes in `events/redrives/`; `redrive` writes new event files and
//! tells the API of them. Run: `shopctl rejects list`, `shopctl rejects show FILE:LINE`, `shopctl rejects redrive`.

mod filter;
mod list;
mod redrive;
mod redrive_text;
mod show;
mod text;

use crate::base::boot::{Exit, Failure};
use crate::pipeline::settings::Context;

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
