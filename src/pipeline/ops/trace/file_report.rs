//! An event file: its stages in every shard, its files, its rows.

use std::collections::BTreeSet;

use serde::Serialize;

use super::databases;
use crate::base::boot::Failure;
use crate::pipeline::event::ShardId;
use crate::pipeline::files::artifact;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::ops::dead_letters::RedriveLog;
use crate::pipeline::ops::tracking::find_tracking;
use crate::pipeline::settings::Context;
use crate::pipeline::shard_db::trace::Question;
use crate::pipeline::task::FileName;
use crate::pipeline::task::wire::FileResponse;

/// The way of an event file.
#[derive(Debug, Serialize)]
pub(crate) struct FileReport {
    pub(crate) file: FileName,
    /// What the tracking database has of it; nothing if it is not registered.
    pub(crate) registered: Option<FileResponse>,
    pub(crate) on_disk: Vec<OnDisk>,
    pub(crate) delivered: Vec<DeliveredShard>,
    /// When its lines were redriven, if it is the file of a redrive.
    pub(crate) is_redrive_of: Option<String>,
    /// Rejected lines of it that were redriven.
    pub(crate) redriven_lines: u64,
}

/// A file of it that is there.
#[derive(Debug, Serialize)]
pub(crate) struct OnDisk {
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

/// What a shard's database has of it.
#[derive(Debug, Serialize)]
pub(crate) struct DeliveredShard {
    pub(crate) shard: ShardId,
    pub(crate) rows: u64,
    /// Rows that name it as their source: with early returns these may be more or less.
    pub(crate) present: u64,
    pub(crate) at: String,
}

/// What is known of the event file.
///
/// # Errors
/// [`Failure`] when something cannot be read, or it was not found.
pub(crate) async fn report(ctx: &Context, file: FileName) -> Result<FileReport, Failure> {
    let registered = match find_tracking(ctx).await? {
        Some(tracking) => {
            let found = tracking.find_file(&file).await;
            tracking.close().await;
            found?.map(FileResponse::from)
        }
        None => None,
    };
    let shards: BTreeSet<ShardId> =
        registered.iter().flat_map(|file| file.shards.iter().map(|task| task.shard)).collect();
    let question = Question { file: Some(file.clone()), ..Question::default() };
    let answers = databases::ask(ctx, &shards, &question).await?;
    let delivered = answers.iter().filter_map(|(shard, answer)| {
        let marker = answer.marker.as_ref()?;
        Some(DeliveredShard {
            shard: *shard,
            rows: marker.rows,
            present: marker.present,
            at: marker.sent_at.to_string(),
        })
    });
    let delivered = delivered.collect();
    let folder = Folder::new(&ctx.settings.shared.dir);
    let (name, known) = (file.clone(), shards);
    let (on_disk, notes) = tokio::task::spawn_blocking(move || {
        let on_disk = on_disk(&folder, &name, &known)?;
        Ok::<_, std::io::Error>((on_disk, redrives(&RedriveLog::new(folder), &name)?))
    })
    .await??;
    let report = FileReport { file, registered, on_disk, delivered, is_redrive_of: notes.0, redriven_lines: notes.1 };
    if report.registered.is_none() && report.on_disk.is_empty() && report.delivered.is_empty() {
        return Err(Failure::new(format!(
            "file {} was not found: it is not registered, not in the shared folder, and in none of {} shard databases",
            report.file,
            answers.len()
        )));
    }
    Ok(report)
}

fn on_disk(folder: &Folder, file: &FileName, shards: &BTreeSet<ShardId>) -> std::io::Result<Vec<OnDisk>> {
    let mut artifacts = vec![Artifact::Events(file.clone()), Artifact::SplitRejects(file.clone())];
    for shard in shards {
        artifacts.extend([
            Artifact::Split(file.clone(), *shard),
            Artifact::SplitIndex(file.clone(), *shard),
            Artifact::Prepared(file.clone(), *shard),
            Artifact::WorkRejects(file.clone(), *shard),
            Artifact::Receipt(file.clone(), *shard),
        ]);
    }
    let mut found = Vec::new();
    for artifact in artifacts {
        let path = folder.locate(&artifact);
        match artifact::size(&path) {
            Ok(bytes) => found.push(OnDisk { path: path.display().to_string(), bytes }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// When the file's lines were redriven into it, and how many of its own were redriven elsewhere.
fn redrives(notes: &RedriveLog, file: &FileName) -> std::io::Result<(Option<String>, u64)> {
    let (mut made, mut lines) = (None, 0);
    notes.for_each_pair(|old, new, note| {
        lines += u64::from(old.file == *file);
        if new.file == *file && made.is_none() {
            made = Some(note.at.clone());
        }
    })?;
    Ok((made, lines))
}
