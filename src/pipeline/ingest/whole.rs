//! Imports a whole input, and says what became of it: `shopctl ingest --from FILE` and `shopctl up --from FILE`.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::announce::Announcer;
use super::csv::{self, Opened};
use super::import::{Imported, Importer};
use super::once::OnceError;
use crate::base::boot::{Exit, Failure, say};
use crate::base::log_format::clean;
use crate::base::progress::Progress;
use crate::base::shutdown::Stop;
use crate::base::text::count;
use crate::pipeline::apid::client::Client;
use crate::pipeline::boot;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::settings::Context;

/// How long an import that is stopped may go on with its batch.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// What a stopped import says.
const STOPPED_EARLY: &str = "stopped before the end of the input; the same command goes on where this one ended";
/// What is said where nothing was written yet, or never is.
const STOPPED_UNWRITTEN: &str =
    "stopped before the end of the input; nothing was written, the same command begins anew";

/// Opens what is imported, before anything is written or started.
///
/// # Errors
/// [`Failure`] when it cannot be opened, is a table without a map, or its map is not right.
pub async fn open(stop: &Stop, from: PathBuf, map: Option<PathBuf>) -> Result<Opened, Failure> {
    until_stop(stop, STOPPED_UNWRITTEN, move || Ok(csv::open(&from, map.as_deref())?)).await
}

/// Says what an import would do, and writes nothing.
///
/// # Errors
/// [`Failure`] when the input cannot be read, or it was stopped before its end.
pub async fn try_out(ctx: Context, input: Opened) -> Result<Exit, Failure> {
    until_stop(&ctx.stop.clone(), STOPPED_UNWRITTEN, move || say_trial(&ctx, input)).await
}

fn say_trial(ctx: &Context, input: Opened) -> Result<Exit, Failure> {
    let trial = csv::try_out(input.lines, ctx.settings.events.max_payload_size)?;
    for line in trial.to_string().lines() {
        say(&format!("{}\n", clean(line)))?;
    }
    Ok(if trial.accepted > 0 { Exit::Ok } else { Exit::Failed })
}

/// Cuts an input into event files and announces them. A stop is answered between two batches, or after a moment if the
/// input does not move.
///
/// # Errors
/// [`Failure`] when the input cannot be read, a file cannot be written, or the import was stopped before its end.
pub async fn import(ctx: Context, input: Opened, batch_lines: u64, progress: Progress) -> Result<Imported, Failure> {
    let stop = ctx.stop.clone();
    until_stop(&stop, STOPPED_EARLY, move || import_file(&ctx, input, batch_lines, &progress)).await
}

fn import_file(ctx: &Context, input: Opened, batch_lines: u64, progress: &Progress) -> Result<Imported, Failure> {
    let _held = boot::hold_shared(ctx)?;
    let folder = Folder::new(&ctx.settings.shared.dir);
    let client = Client::new(&ctx.settings.pipeline.url);
    let importer = Importer::new(folder, client, ctx.clock.clone(), ctx.stop.clone(), batch_lines);
    let mut announcer = Announcer::new(&ctx.settings);
    let Opened { mut lines, bytes, read } = input;
    let (mut sum, mut trouble) = (Imported::default(), None);
    let mut bar = progress.bytes("importing", bytes);
    let imported = importer.import(&mut lines, |batch| {
        sum.add(batch);
        bar.inner().set_position(read.load(Ordering::Relaxed));
        bar.say(count(sum.lines, "line"));
        if batch.before {
            announcer.add_known(batch.file.clone());
        } else {
            announcer.add_fresh(batch.file.clone());
        }
        // Once the API did not answer, the rest is told in the end.
        if trouble.is_none() {
            trouble = announcer.announce_all().err();
        }
    });
    let result = announcer.announce_all();
    drop(bar);
    if let Some(tally) = lines.tally() {
        progress.suspend(|| say(&format!("table: {}\n", clean(&tally.to_string()))))?;
    }
    let (lines, files) = (count(sum.lines, "line"), count(sum.files.len() as u64, "file"));
    progress.suspend(|| say(&format!("ingest: {lines} in {files}, {} of them imported before\n", sum.before)))?;
    match imported {
        Err(e) if matches!(e.kind(), std::io::ErrorKind::Interrupted | std::io::ErrorKind::NotConnected) => {
            return Err(Failure { exit: Exit::TryLater, message: e.to_string() });
        }
        imported => imported?,
    }
    let waiting = announcer.pending();
    let advice = "run the same command again, or start 'shopctl ingest'";
    match result {
        Ok(()) if waiting == 0 => Ok(sum),
        Ok(()) => Err(OnceError::Unannounced(waiting).into()),
        Err(e) => Err(Failure {
            exit: Exit::TryLater,
            message: format!("{} written but not announced: {e}; {advice}", count(waiting as u64, "file")),
        }),
    }
}

/// Does what may wait for an input that does not move; `message` is what a stop before its end means.
async fn until_stop<T: Send + 'static>(
    stop: &Stop,
    message: &str,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let stopped = async {
        stop.requested().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        result = tokio::task::spawn_blocking(work) => result?,
        () = stopped => Err(Failure { exit: Exit::TryLater, message: message.to_owned() }),
    }
}
