//! `shopctl rejects redrive`: puts rejected lines into new event files, and tells the API of them.

use super::filter::FilterArgs;
use super::redrive_text;
use crate::base::boot::{Exit, Failure, say};
use crate::base::config::Principal;
use crate::base::log_format::clean;
use crate::base::output::OutputArgs;
use crate::base::text::count;
use crate::pipeline::apid::client::Client;
use crate::pipeline::boot;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::ingest::announce::Announcer;
use crate::pipeline::ingest::once::OnceError;
use crate::pipeline::ops::dead_letters::Filter;
use crate::pipeline::ops::dead_letters::redrive::{RedriveError, RedrivePlan, RedriveRequest, Redriver};
use crate::pipeline::settings::Context;
use crate::pipeline::settings::principal;

/// Puts rejected lines into new event files, so that they are decided anew.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl rejects redrive --reason shop_closed --dry-run
  shopctl rejects redrive --reason shop_closed --since 2025-01-01
  shopctl rejects redrive --all

A line goes once, byte for byte and with its key, also if this is killed and run again. If it is
refused again it stands in the rejects under its new place, and can be redriven from there. Lines
that will be refused again as they stand (broken ones; orders whose money the bank has refused)
stay, unless --include-unrecoverable.
Exit codes: 0 all well, 1 something failed, 64 bad usage or settings, 75 the API does not answer.")]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// All rejected lines; without a filter this is needed
    #[arg(long)]
    all: bool,
    /// Count what would go, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Take lines too that were redriven before; every run with this takes them once more
    #[arg(long)]
    again: bool,
    /// Take lines too that will be refused again as they stand
    #[arg(long, alias = "include-hopeless")]
    include_unrecoverable: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<Exit, Failure> {
    let filter = Filter::from(&args.filter);
    if filter.is_empty() && !args.all {
        return Err(Failure::usage("say which lines (--reason, --file, --since ...), or --all for all of them"));
    }
    let settings = &ctx.settings;
    let request = RedriveRequest {
        filter,
        again: args.again,
        unrecoverable: args.include_unrecoverable,
        line_bytes_max: settings.events.max_payload_size,
        count: settings.pipeline.shards_count,
    };
    let (folder, client) = (Folder::new(&settings.shared.dir), Client::new(&settings.pipeline.url));
    let redriver = Redriver::new(folder, request.line_bytes_max, client, ctx.clock.clone(), ctx.stop.clone());
    if args.dry_run {
        return dry_run(&redriver, &request, args);
    }
    let _held = boot::hold_shared(ctx)?;
    let _lock = redriver.lock().map_err(RedriveError::from).map_err(failure)?;
    let mut announcer = Announcer::of(settings, principal(ctx));
    let mut sent = redriver.recover().map_err(failure)?;
    let recovered = sent.iter().map(|sent| sent.lines).sum::<u64>();
    if recovered > 0 && !args.output.is_json() {
        let lines = count(recovered, "line");
        say(&format!("of a redrive that was interrupted, {lines} got into event files now\n\n"))?;
    }
    for file in redriver.unannounced().map_err(failure)? {
        announcer.add_known(file);
    }
    let plan = redriver.plan(&request).map_err(failure)?;
    if !args.output.is_json() {
        say(&redrive_text::table(&plan, args.dry_run))?;
    }
    let done = redriver.send(&request, &plan, &mut |file| sent.push(file));
    // Their names were free here and at the API: they keep them, so that the notes stay right.
    sent.iter().for_each(|sent| announcer.add_known(sent.file.clone()));
    let announced = announcer.announce_all();
    let is_json = args.output.is_json();
    say(&if is_json { redrive_text::json(&plan, &sent, false) } else { redrive_text::files(&sent) })?;
    done.map_err(failure)?;
    let waiting = announcer.pending();
    match announced {
        Ok(()) if waiting == 0 => verdict(&plan),
        Ok(()) => Err(OnceError::Unannounced(waiting).into()),
        Err(e) => {
            let advice = "run the same command again, or start 'shopctl ingest'";
            let message = format!("{} written but not announced: {e}; {advice}", count(waiting as u64, "file"));
            Err(Failure { exit: Exit::TryLater, message })
        }
    }
}

fn dry_run(redriver: &Redriver, request: &RedriveRequest, args: &Args) -> Result<Exit, Failure> {
    let waiting = redriver.interrupted()?;
    let plan = redriver.plan(request).map_err(failure)?;
    let mut text = if args.output.is_json() {
        redrive_text::json(&plan, &[], true)
    } else {
        redrive_text::table(&plan, args.dry_run)
    };
    if waiting > 0 && !args.output.is_json() {
        text.push_str(&format!(
            "the next redrive also publishes {} of one that was interrupted\n",
            count(waiting, "line")
        ));
    }
    say(&text)?;
    verdict(&plan)
}

/// The operator announces with the operator's own token, and with that of event-ingest where there is only that.
fn principal(ctx: &Context) -> Principal {
    if ctx.settings.auth.has(Principal::OPERATOR) { Principal::OPERATOR } else { principal::EVENT_INGEST }
}

fn failure(error: RedriveError) -> Failure {
    match error {
        RedriveError::Api(e) => Failure::from(e),
        RedriveError::Io(e) if e.kind() == std::io::ErrorKind::Interrupted => {
            Failure { exit: Exit::TryLater, message: e.to_string() }
        }
        RedriveError::Io(e) => Failure::from(e),
    }
}

fn verdict(plan: &RedrivePlan) -> Result<Exit, Failure> {
    match &plan.unreadable {
        (0, _) | (_, None) => Ok(Exit::Ok),
        (lines, Some(first)) => {
            Err(Failure::new(format!("{} of rejects files cannot be read: {}", count(*lines, "line"), clean(first))))
        }
    }
}
