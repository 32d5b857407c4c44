//! `shopctl status`: the state of the pipeline on one screen.
//!
//! Talks to the API, and asks the roles that it can find whether they are ready. Run: `shopctl status`,
//! `shopctl status --json`, `shopctl status --watch`.

mod places;
mod report;
mod text;

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::json;

use crate::base::boot::{Exit, Failure, say, say_json};
use crate::base::output::OutputArgs;
use crate::pipeline::addresses;
use crate::pipeline::apid::client::{Client, ClientError};
use crate::pipeline::calls::Service;
use crate::pipeline::ops::probe::{self, Probed};
use crate::pipeline::settings::Context;
use crate::pipeline::settings::Loaded;
use report::StatusReport;

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
Exit codes: 0 well, 1 there are failed tasks, or a role cannot do its work, 2 stuck: something waits
and nothing moved for two leases (whatever else is wrong), 64 bad usage or settings, 75 the API does
not answer, or not with a report. With --json it then prints {\"error\": ..., \"roles\": [...]}.")]
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
pub async fn run(ctx: Context, args: Args, loaded: Loaded) -> Result<Exit, Failure> {
    let json = args.output.is_json();
    tokio::task::spawn_blocking(move || match args.watch {
        Some(secs) => watch(&ctx, &loaded, json, Duration::from_secs(secs)),
        None => show(&loaded, json),
    })
    .await?
}

fn watch(ctx: &Context, loaded: &Loaded, json: bool, every: Duration) -> Result<Exit, Failure> {
    let clears = std::io::stdout().is_terminal() && !json;
    loop {
        if clears {
            say(CLEAR)?;
        }
        // An API that is away is shown, and may come back.
        let shown = show(loaded, json);
        match &shown {
            Err(failure) if json => eprintln!("shopctl: {failure}"),
            Err(failure) => say(&format!("{failure}\n"))?,
            Ok(_) => {}
        }
        if ctx.stop.wait(every) {
            return Ok(shown.unwrap_or_else(|failure| failure.exit));
        }
    }
}

/// Looks for the API anew: one that was started again may listen elsewhere.
fn show(loaded: &Loaded, json: bool) -> Result<Exit, Failure> {
    let mut loaded = loaded.clone();
    let found = addresses::fill(&mut loaded, &[Service::Status]);
    let settings = &loaded.settings;
    let mut places = places::role_addresses(settings);
    if found.is_err() {
        // Nothing of this pipeline is at the default port then.
        places.retain(|place| place.role != "pipeline-apid");
    }
    let roles = probe::ask_all(&places);
    let client = Client::new(&settings.pipeline.url);
    let ask = || client.summary().and_then(|summary| Ok((summary, client.progress()?)));
    let answers = found.map_err(away).and_then(|()| ask().map_err(|e| away(no_report(&e, client.base()))));
    let (summary, progress) = match answers {
        Ok(answers) => answers,
        Err(failure) => {
            say_away(&failure, &roles, json)?;
            return Err(failure);
        }
    };
    let report = StatusReport::new(summary, progress, roles);
    if json {
        say_json(&report)?;
    } else {
        say(&text::screen(&report))?;
    }
    Ok(report.exit())
}

/// Whatever the reason is, there is no report: its exit code is none of those that a report has.
fn away(message: String) -> Failure {
    Failure { exit: Exit::TryLater, message }
}

fn no_report(error: &ClientError, base: &str) -> String {
    match error {
        ClientError::Refused { .. } => {
            format!("{error}; does the stage-status API listen at {base}? pipeline.url says so")
        }
        other => other.to_string(),
    }
}

/// What is known of the roles all the same.
fn say_away(failure: &Failure, roles: &[Probed], json: bool) -> Result<(), Failure> {
    if json { say_json(&json!({"error": failure.message, "roles": roles})) } else { say(&text::of_roles(roles)) }
}
