//! `shopctl audit`: proves that nothing was lost and nothing came twice, or names what does not add up.
//!
//! Reads the databases, the workers' states and the rejects files; needs no running role. The work is in
//! [`crate::pipeline::ops::audit`]. Run: `shopctl audit`, `shopctl audit --settled`, `shopctl audit --json`.

use crate::base::boot::{Exit, Failure, say, say_json};
use crate::base::output::OutputArgs;
use crate::pipeline::ops::audit;
use crate::pipeline::settings::Context;

/// Adds up the books of the whole pipeline and compares them with the databases and the rejects.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl audit            the table and the differences, if there are any
  shopctl audit --settled  work that is not finished counts as a difference too
  shopctl audit --json     the same for programs

Lines in = rows + duplicates + rejected + pending + lines still in flight.
Every row is as it was delivered; every balance is its opening and its transactions; the books of
a shard and the order directory say what its worker knows; early returns are kept as the tasks say.
Exit codes: 0 everything adds up, 1 something does not, 64 bad usage or settings, 75 a database does not answer.")]
pub struct Args {
    /// Count unfinished work as a difference
    #[arg(long)]
    pub settled: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Audits and prints.
///
/// # Errors
/// [`Failure`] when a database cannot be opened.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let audit = audit::audit(&ctx, args.settled).await?;
    if args.output.is_json() {
        say_json(&audit)?;
    } else {
        say(&audit::table(&audit))?;
    }
    Ok(if audit.is_clean() { Exit::Ok } else { Exit::Failed })
}
