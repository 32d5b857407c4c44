//! `shopctl doctor`: looks for what may be wrong around the roles, and says what to do.
//!
//! Reads folders, databases and ports; changes nothing. What it looks at and how it judges is in [`crate::pipeline::ops::doctor`].
//! Run: `shopctl doctor`, `shopctl doctor -o json`.

use serde_json::json;

use super::{apid, balance, cache, ingest, send, split, work};
use crate::base::boot::{Exit, Failure, say, say_json};
use crate::base::output::OutputArgs;
use crate::pipeline::addresses;
use crate::pipeline::ops::doctor::facts::Facts;
use crate::pipeline::ops::doctor::{DoctorSummary, checks, gather, table};
use crate::pipeline::ops::tracking::open_tracking_read_only;
use crate::pipeline::settings::Context;
use crate::pipeline::settings::Settings;

/// Looks for what may be wrong around the roles, and says what to do.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl doctor                              before the first start, or when something is odd
  shopctl doctor -o json | jq '.findings[] | select(.level != \"ok\")'

Looks at settings that contradict each other, files with tokens, folders, disks, databases with
their servers' settings and clocks, ports, files that were left behind, and limits of the process.
It changes nothing, and needs no running role.
Exit codes: 0 all well or warnings only, 1 something fails, 64 bad usage or settings,
75 nothing fails but a database that does not answer.")]
pub struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

/// Looks, judges and prints.
///
/// # Errors
/// [`Failure`] when the output cannot be written.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let settings = &ctx.settings;
    let databases = gather::databases(settings, &ctx.clock).await;
    // A database that is behind is not opened: that would migrate it.
    let tracking = databases.first().and_then(|tracking| tracking.state.as_ref().ok());
    let is_current = tracking.and_then(|state| state.schema).is_some_and(|schema| schema.applied >= schema.known);
    let (tracking, unopened) = match is_current {
        true => open_tracking_read_only(&ctx)
            .await
            .map_or_else(|e| (None, Some(e.to_string())), |found| (Some(found), None)),
        false => (None, None),
    };
    let noted = addresses::listed(settings);
    let mut orphans = gather::orphans(settings, &ctx.clock, tracking.as_deref(), &noted).await;
    orphans.unread = orphans.unread.or(unopened);
    if let Some(tracking) = tracking {
        tracking.close().await;
    }
    let ports = roles(settings);
    let ports = tokio::task::spawn_blocking(move || gather::ports(ports, &noted)).await?;
    let facts = Facts {
        folders: gather::folders(settings),
        disks: gather::disks(settings),
        databases,
        ports,
        orphans,
        open_files_max: gather::open_files_max(),
        token_files: gather::token_files(settings),
    };
    let findings = checks::all(&facts, settings);
    let summary = DoctorSummary::of(&findings);
    if args.output.is_json() {
        say_json(&json!({"findings": findings, "summary": summary}))?;
    } else {
        say(&table(&findings))?;
    }
    Ok(exit(summary))
}

fn exit(summary: DoctorSummary) -> Exit {
    match summary {
        DoctorSummary { fail: 0, .. } => Exit::Ok,
        DoctorSummary { fail, temporary, .. } if fail == temporary => Exit::TryLater,
        DoctorSummary { .. } => Exit::Failed,
    }
}

/// The ports of the roles, as far as they are known before a start.
fn roles(settings: &Settings) -> Vec<(String, u16)> {
    match settings.server.port {
        // Any free one.
        Some(0) => Vec::new(),
        Some(port) => vec![("the role of these settings".to_owned(), port)],
        None => {
            let own = [
                ("event-ingest", ingest::PORT),
                ("pipeline-apid", apid::PORT),
                ("balance-daemon", balance::PORT),
                ("cache-service", cache::PORT),
                ("shard-splitter", split::PORT),
                ("mysql-sender", send::PORT),
            ];
            let shards = settings.pipeline.shards_count.shards();
            let workers = shards.map(|shard| (format!("shard-worker {shard}"), work::PORT + u16::from(shard.get())));
            own.map(|(role, port)| (role.to_owned(), port)).into_iter().chain(workers).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_alone_is_for_later() {
        let summary = |fail, temporary| exit(DoctorSummary { ok: 3, warn: 1, fail, temporary });
        assert_eq!((summary(0, 0), summary(2, 2), summary(2, 1)), (Exit::Ok, Exit::TryLater, Exit::Failed));
    }
}
