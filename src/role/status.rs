//! `shopctl status`: the state of the pipeline on one screen.
//!
//! Talks to the API, and asks the roles that it can find whether they are ready. Run: `shopctl status`,
//! `shopctl status --json`, `shopctl status --watch`.

mod places;
mod report;
mod text;

use std::io::IsTerminal;
use std::time::Duration;

use crate::base::boot::{Context, Exit, Failure, say, say_json};
use crate::base::output::OutputArgs;
use crate::pipeline::apid::client::Client;
use crate::pipeline::ops::probe;
use report::Report;

/// Puts the cursor into the first corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows the state of the pipeline on one screen.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl status
  shopctl status --watch            again every 2 seconds, until Ctrl-C
  shopctl status --json | jq .health
  shopctl status --json | jq '.failed_tasks[].repair.commands'

What is wrong comes first, each with what to do. Per stage and shard: what waits, is under way
and failed, the oldest file with its age, who holds it, what is left of the lease, and why nothing
moves.
Exit codes: 0 well, 1 there are failed tasks, 2 stuck: something waits and nothing moved for two
leases (whether tasks have failed or not), 64 bad usage or settings, 75 the API does not answer.")]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
    /// Print it again and again, every so many seconds
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
}

/// Prints the state.
///
/// # Errors
/// [`Failure`] when the API does not answer.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    tokio::task::spawn_blocking(move || match args.watch {
        Some(secs) => watch(&ctx, args.output.is_json(), Duration::from_secs(secs)),
        None => show(&ctx, args.output.is_json()),
    })
    .await?
}

fn watch(ctx: &Context, json: bool, every: Duration) -> Result<Exit, Failure> {
    let clears = std::io::stdout().is_terminal() && !json;
    loop {
        if clears {
            say(CLEAR)?;
        }
        // An API that is away is shown, and may come back.
        let shown = show(ctx, json);
        if let Err(failure) = &shown {
            say(&format!("{failure}\n"))?;
        }
        if ctx.stop.wait(every) {
            return Ok(shown.unwrap_or_else(|failure| failure.exit));
        }
    }
}

fn show(ctx: &Context, json: bool) -> Result<Exit, Failure> {
    let client = Client::new(&ctx.settings.pipeline.url);
    let roles = probe::ask_all(&places::role_addresses(&ctx.settings));
    let answers = client.summary().and_then(|summary| Ok((summary, client.progress()?)));
    let (summary, progress) = match answers {
        Ok(answers) => answers,
        Err(e) => {
            say(&text::of_roles(&roles))?;
            return Err(e.into());
        }
    };
    let report = Report::new(summary, progress, roles);
    if json {
        say_json(&report)?;
    } else {
        say(&text::screen(&report))?;
    }
    Ok(report.exit())
}
