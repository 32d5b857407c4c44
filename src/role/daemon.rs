//! What the roles with a claim loop share: daemon, one-shot, explicit files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::base::boot::{Exit, Failure, say};
use crate::base::http::{Policy, Principal};
use crate::base::text::count;
use crate::pipeline::apid::client::Client;
use crate::pipeline::boot;
use crate::pipeline::claim::cleanup::{Cleaner, clear_at_stop, clear_until_stop};
use crate::pipeline::claim::driver::{Driver, Finished, Job, Tally};
use crate::pipeline::event::ShardId;
use crate::pipeline::files::folder::{Artifact, resolve};
use crate::pipeline::settings::Context;
use crate::pipeline::task::Stage;

/// How a stage is run.
pub(super) struct StagePlan {
    /// The most tasks per claim.
    pub(super) limit: u32,
    /// Only this shard's tasks.
    pub(super) shard: Option<ShardId>,
    /// The role's own folder, which it clears.
    pub(super) own: PathBuf,
    /// The port that it listens on by default.
    pub(super) port: u16,
    /// Which principal may change what there.
    pub(super) policy: Policy,
    /// The principal as which it calls the API.
    pub(super) principal: Principal,
}

/// Runs the jobs until the stop is requested, each in a loop of its own, with probes beside them.
pub(super) async fn run_daemon<J: Job + Send + 'static>(
    mut ctx: Context,
    plan: StagePlan,
    jobs: Vec<J>,
) -> Result<Exit, Failure> {
    ctx.bind(plan.port, plan.policy).await?;
    let cleaner = Cleaner::new(plan.own.clone(), &ctx.settings, ctx.clock.clone());
    cleaner.at_start()?;
    let mut loops = JoinSet::new();
    for job in jobs {
        spawn_loop(&mut loops, &ctx, &plan, job);
    }
    let stop = ctx.stop.clone();
    let work = async move {
        let ticker_stop = stop.clone();
        let ticker = tokio::task::spawn_blocking(move || clear_until_stop(cleaner, &ticker_stop));
        let mut result = Ok(());
        while let Some(ended) = loops.join_next().await {
            result = result.and(ended.map(drop).map_err(Failure::from));
            // A loop ends when it is asked to. If one ended otherwise, a role that seems alive would do nothing.
            stop.request();
        }
        clear_at_stop(ticker.await?, stop).await?;
        result
    };
    boot::serve_probes(ctx, plan.shard, work).await
}

fn spawn_loop<J: Job + Send + 'static>(loops: &mut JoinSet<Tally>, ctx: &Context, plan: &StagePlan, mut job: J) {
    let client = Client::of(&ctx.settings, plan.principal).observed(boot::call_observer(ctx));
    let (stop, watch) = (ctx.stop.clone(), boot::watch(ctx));
    let (shard, limit, wait) = (plan.shard, plan.limit, ctx.settings.pipeline.claim_wait);
    loops.spawn_blocking(move || {
        let driver =
            Driver { client: &client, stop: &stop, worker: boot::worker_name(), shard, limit, wait, watch: &watch };
        driver.run(&mut job)
    });
}

/// Does what is ready, prints one line, and answers whether all of it went well.
pub(super) async fn run_once<J: Job + Send + 'static>(
    ctx: Context,
    plan: StagePlan,
    mut job: J,
) -> Result<Exit, Failure> {
    let (client, stop, watch) = (Client::of(&ctx.settings, plan.principal), ctx.stop.clone(), boot::watch(&ctx));
    let (stage, name) = (job.stage(), ctx.name);
    Cleaner::new(plan.own.clone(), &ctx.settings, ctx.clock.clone()).at_start()?;
    let tally = tokio::task::spawn_blocking(move || {
        let (shard, limit, wait) = (plan.shard, plan.limit, Duration::ZERO);
        let driver =
            Driver { client: &client, stop: &stop, worker: boot::worker_name(), shard, limit, wait, watch: &watch };
        driver.run_once(&mut job)
    })
    .await??;
    summarize(name, stage, tally)
}

/// Runs a stage over files that were named on the command line, without the API; a file that fails does not end the
/// run, a name that is no file of the stage does.
pub(super) fn run_files(
    name: &str,
    stage: Stage,
    files: &[PathBuf],
    mut run: impl FnMut(&Path) -> Result<Vec<Finished>, Failure>,
) -> Result<Exit, Failure> {
    let mut tally = Tally::default();
    for path in files {
        // A person's path may go through links; the name at its end is taken as it is.
        let path = &match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => resolve(parent).join(name),
            _ => path.clone(),
        };
        match run(path) {
            Ok(finished) => {
                for finished in finished {
                    tally.done += 1;
                    tally.counts = tally.counts.plus(finished.counts);
                }
            }
            Err(failure) if failure.exit == Exit::Usage => return Err(failure),
            Err(failure) => {
                log::error!(path:% = path.display(); "{failure}");
                tally.failed += 1;
            }
        }
    }
    summarize(name, stage, tally)
}

/// The summary line of a run, and its exit code.
fn summarize(name: &str, stage: Stage, tally: Tally) -> Result<Exit, Failure> {
    let Tally { done, failed, counts, .. } = tally;
    let written = counts.written;
    let written = if stage == Stage::MysqlSender { count(written, "row") } else { format!("{written} written") };
    say(&format!(
        "{name}: {} done, {failed} not; {} read, {written}, {}, {} rejected\n",
        count(done, "task"),
        count(counts.read, "line"),
        count(counts.duplicate, "duplicate"),
        counts.rejected
    ))?;
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
}

/// The artifact that a file given on the command line is, by its name.
pub(super) fn artifact_of(path: &Path) -> Result<Artifact, Failure> {
    Artifact::of_path(path).map_err(Failure::usage)
}

/// A refusal of a file that another stage reads.
pub(super) fn wrong_artifact(path: &Path, wanted: &str) -> Failure {
    Failure::usage(format!("{} is not {wanted}", path.display()))
}
