//! What `up --from` says at its end: what was rejected, and what waits for a purchase that never came.

use std::collections::BTreeSet;

use crate::base::boot::{Exit, Failure, say};
use crate::base::db::schema_state;
use crate::base::log_format::clean;
use crate::base::text::count;
use crate::base::timestamp::Timestamp;
use crate::pipeline::cache::open::open_cache;
use crate::pipeline::cache::store::CachePolicy;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::ingest::import::Imported;
use crate::pipeline::ops::audit;
use crate::pipeline::ops::dead_letters::scan::RejectsFiles;
use crate::pipeline::ops::dead_letters::summary::RejectSummary;
use crate::pipeline::schemas;
use crate::pipeline::settings::Context;
use crate::pipeline::task::FileName;

/// Returns per page.
const PAGE: u32 = 1000;

/// What became of an import, beside its rows.
#[derive(Debug, Default)]
struct Closing {
    rejected: RejectSummary,
    waiting: Waiting,
}

/// Returns whose purchase never came.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    /// All that wait, of whichever import.
    all: u64,
    /// Those of this import.
    own: u64,
    /// When the last of them expires.
    until: Option<Timestamp>,
}

/// Audits, says what became of an import, and gives the verdict.
pub(super) async fn close(
    ctx: &Context,
    outcome: Result<Imported, Failure>,
    ended: Result<(), Failure>,
    is_import: bool,
) -> Result<Exit, Failure> {
    let audit = audit::audit(ctx, is_import).await;
    if let Ok(audit) = &audit {
        say(&format!("\n{}", audit::table(audit)))?;
    }
    let imported = outcome.and_then(|imported| ended.map(|()| imported))?;
    let audit = audit?;
    if is_import {
        let closing = Closing::look(ctx, &imported).await?;
        say(&closing.text(&imported))?;
        if closing.is_total_rejection(&imported) {
            return Err(Failure::new("nothing of the input was accepted; the lines above say why"));
        }
    }
    Ok(if audit.is_clean() { Exit::Ok } else { Exit::Failed })
}

impl Closing {
    /// Looks at the rejects files and at the early returns; no role is needed.
    ///
    /// # Errors
    /// [`Failure`] when they cannot be read.
    async fn look(ctx: &Context, imported: &Imported) -> Result<Self, Failure> {
        let settings = &ctx.settings;
        let rejects = RejectsFiles::new(Folder::new(&settings.shared.dir), settings.events.max_payload_size);
        let files = imported.files.clone();
        let rejected = tokio::task::spawn_blocking(move || RejectSummary::of(&rejects, &files)).await??;
        Ok(Self { rejected, waiting: Waiting::look(ctx, imported).await? })
    }

    /// The closing lines; none if there is nothing to say.
    fn text(&self, imported: &Imported) -> String {
        let mut text = rejected(&self.rejected, &imported.files);
        let Waiting { all, until, .. } = self.waiting;
        if let Some(until) = until {
            let (returns, verb) = (count(all, "return"), if all == 1 { "waits" } else { "wait" });
            text.push_str(&format!(
                "{returns} {verb} for a purchase that never came, until {until} UTC at the latest (cache.pending_ttl): \
                 docs/runbook.md#pending-returns\n"
            ));
        }
        text
    }

    /// Whether nothing of the import was accepted, though something was rejected: whatever else there is of it waits.
    fn is_total_rejection(&self, imported: &Imported) -> bool {
        let rejected = self.rejected.lines();
        rejected > 0 && rejected + self.waiting.own >= imported.lines
    }
}

/// What was rejected, with the commands that go on from here; empty if nothing was.
fn rejected(summary: &RejectSummary, files: &BTreeSet<FileName>) -> String {
    let (Some(first), Some(last), true) = (files.first(), files.last(), summary.lines() > 0) else {
        return String::new();
    };
    let lines = count(summary.lines(), "line");
    let mut text = format!("{lines} of this import rejected, by reason, with the first of each:\n");
    for (reason, lines, at, detail) in summary.reasons() {
        text.push_str(&format!("{lines:>10}  {:<26}{at}  {}\n", reason.code(), clean(detail)));
    }
    let range = if first == last { first.to_string() } else { format!("{first}..{last}") };
    text.push_str(&format!(
        "see them:         shopctl rejects list --lines --file {range}\n\
         what they mean:   docs/runbook.md#rejected-lines\n\
         then, while 'shopctl up' runs:\n\
         \x20                 shopctl rejects redrive --file {range} --dry-run\n"
    ));
    text
}

impl Waiting {
    async fn look(ctx: &Context, imported: &Imported) -> Result<Self, Failure> {
        let (url, mut waiting) = (&ctx.settings.database.cache, Self::default());
        if schema_state(url, &schemas::CACHE).await?.is_none_or(|state| state.applied == 0) {
            return Ok(waiting);
        }
        let store = open_cache(url, ctx.clock.clone(), CachePolicy::of(&ctx.settings)).await?;
        let mut after = None;
        let looked = loop {
            let page = match store.list_pending(after, PAGE).await {
                Ok(page) => page,
                Err(e) => break Err(e),
            };
            let Some(last) = page.last() else { break Ok(waiting) };
            after = Some((last.file.clone(), last.line));
            for held in page.iter().filter(|held| held.taken_by().is_none()) {
                waiting.all += 1;
                waiting.own += u64::from(imported.files.contains(&held.file));
                waiting.until = waiting.until.max(Some(held.expires_at));
            }
        };
        store.close().await;
        Ok(looked?)
    }
}
