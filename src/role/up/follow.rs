//! Follows the files through the pipeline, one line each: on a terminal as a table, else as a log line.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::base::boot::say;
use crate::base::progress::Progress;
use crate::base::shutdown::Stop;
use crate::base::timestamp::Timestamp;
use crate::pipeline::apid::client::{Client, ClientError};
use crate::pipeline::settings::Settings;
use crate::pipeline::task::wire::{FileResponse, ShardItem};
use crate::pipeline::task::{Counts, FileName, Stage};

/// Between two looks; only the display waits for it, never the pipeline.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// Files per look.
const PAGE: u32 = 100;

/// Prints delivered files until it is told to finish.
pub(super) struct Follower {
    finish: Stop,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Starts behind what is settled by now.
    pub(super) fn start(settings: &Arc<Settings>, stop: Stop, progress: Progress) -> Self {
        let (client, finish) = (Client::new(&settings.pipeline.url), Stop::new());
        let ended = finish.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let table = std::io::stdout().is_terminal();
            let mut follow = Follow { client, after: None, table, lines: 0, progress };
            let mut caught_up = false;
            loop {
                let last = ended.is_requested() || stop.is_ended();
                match follow.look(caught_up) {
                    Ok(()) => caught_up = true,
                    Err(e) => log::debug!("cannot follow the files: {e}"),
                }
                if last {
                    return;
                }
                ended.wait(PROBE_EVERY);
            }
        });
        Self { finish, thread }
    }

    /// Looks once more and ends.
    pub(super) async fn finish(self) {
        self.finish.request();
        if let Err(e) = self.thread.await {
            log::error!("following the files ended abnormally: {e}");
        }
    }
}

struct Follow {
    client: Client,
    after: Option<FileName>,
    table: bool,
    lines: u64,
    /// Makes way for the table.
    progress: Progress,
}

impl Follow {
    /// Shows the files that are settled since the last look, in their order.
    fn look(&mut self, show: bool) -> Result<(), ClientError> {
        loop {
            let page = self.client.files_page(None, self.after.as_ref(), PAGE)?;
            for file in &page.items {
                if !file.settled() {
                    return Ok(());
                }
                if show {
                    self.show(file);
                }
                self.after = Some(file.filename.clone());
            }
            if page.next_cursor.is_none() {
                return Ok(());
            }
        }
    }

    fn show(&mut self, file: &FileResponse) {
        let line = Line::of(file);
        let name = file.filename.as_str();
        if !self.table {
            log::info!(file = name, events = line.events, rows = line.rows, duplicates = line.duplicates,
                rejected = line.rejected, failed = line.failed, ms = line.ms; "delivered");
            return;
        }
        let mut text = String::new();
        if self.lines.is_multiple_of(20) {
            text.push_str(&format!(
                "{:<16}{:>9}{:>9}{:>12}{:>10}{:>8}\n",
                "file", "events", "rows", "duplicates", "rejected", "ms"
            ));
        }
        self.lines += 1;
        let failed = if line.failed > 0 { "  FAILED: see 'shopctl status'" } else { "" };
        text.push_str(&format!(
            "{name:<16}{:>9}{:>9}{:>12}{:>10}{:>8}{failed}\n",
            line.events, line.rows, line.duplicates, line.rejected, line.ms
        ));
        self.progress.suspend(|| say(&text)).unwrap_or_else(|e| log::warn!("cannot show a line: {e}"));
    }
}

/// What is shown of a file.
struct Line {
    events: u64,
    rows: u64,
    duplicates: u64,
    rejected: u64,
    failed: usize,
    /// From the announced file to the last row.
    ms: i64,
}

impl Line {
    fn of(file: &FileResponse) -> Self {
        let counts = |stage: Stage| {
            let counts = |shard: &ShardItem| shard.result(stage).and_then(|result| result.counts);
            file.shards.iter().filter_map(counts).fold(Counts::default(), Counts::plus)
        };
        let finished = |stage: Stage| {
            let at = |shard: &ShardItem| shard.result(stage).and_then(|result| Timestamp::parse(&result.finished_at));
            file.shards.iter().filter_map(at).max()
        };
        let (split, work, send) =
            (counts(Stage::ShardSplitter), counts(Stage::ShardWorker), counts(Stage::MysqlSender));
        let first = file.announced();
        let times = finished(Stage::EventIngest).zip(finished(Stage::MysqlSender));
        Self {
            events: first.map_or(split.read, |output| output.lines),
            rows: send.written,
            duplicates: work.duplicate,
            rejected: split.rejected + work.rejected,
            failed: file.shards.iter().filter(|shard| shard.failed().is_some()).count(),
            ms: times.map_or(0, |(from, to)| to.unix_ms() - from.unix_ms()),
        }
    }
}
