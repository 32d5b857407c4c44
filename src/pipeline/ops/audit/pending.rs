//! Early returns: what the tasks reported as held and not as released again is what is kept for them.
//!
//! A return is kept from before its task is reported until after the task is reported that took it. So those count that
//! a reported task handed in and that no reported task has.

use std::collections::BTreeMap;

use serde::Serialize;

use super::money::is_used;
use super::reports::Reports;
use super::state::PAGE;
use crate::base::boot::Failure;
use crate::pipeline::apid::store::Tracking;
use crate::pipeline::cache::open::open_cache;
use crate::pipeline::cache::store::{CachePolicy, CacheStore};
use crate::pipeline::ops::audit::Findings;
use crate::pipeline::schemas;
use crate::pipeline::settings::Context;
use crate::pipeline::task::{FileName, Ledger, TaskKey};

/// What to do when the numbers differ.
const NEXT: &str =
    "rows of pending_return were changed by hand, or database.cache is another one: put them back from a backup";

/// The early returns that are pending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// How many are, by the tasks' reports: held less released.
    pub reported: i64,
    /// How many are kept.
    pub kept: i64,
    /// Those that no task has taken up although their purchase is decided.
    pub decided: u64,
    /// 1 if these differ.
    pub differences: u64,
    /// Why they were not compared, if so.
    pub note: Option<String>,
}

/// The early returns, and what is wrong with them.
pub(crate) struct CheckedReturns {
    pub(crate) pending: Pending,
    pub(crate) found: Findings,
}

/// Compares the returns that are kept with the reports.
pub(crate) async fn check(
    ctx: &Context,
    reports: &Reports,
    tracking: &dyn Tracking,
) -> Result<CheckedReturns, Failure> {
    let (url, reported) = (&ctx.settings.database.cache, pending_of(&reports.ledger));
    let (mut found, mut kept, mut decided) = (Findings::default(), 0, 0);
    if is_used(url, &schemas::CACHE).await? {
        let store = open_cache(url, ctx.clock.clone(), CachePolicy::of(&ctx.settings)).await?;
        let counted = count(store.as_ref(), &reports.released).await;
        store.close().await;
        (found.compared, decided) = counted?;
        kept = number(found.compared);
    } else {
        found.note = Some("not used".to_owned());
    }
    if kept != reported {
        // Was it the tasks that went on meanwhile, or is something wrong?
        if !reports.have_moved_on(tracking).await? {
            let used = if found.note.is_some() { format!("there is no database at {url}; ") } else { String::new() };
            found.differ(format!("the tasks hold {reported} early returns, {kept} are kept for them; {used}{NEXT}"));
        } else {
            found.note = Some("tasks were done meanwhile".to_owned());
        }
    }
    let pending = Pending { reported, kept, decided, differences: found.differences, note: found.note.clone() };
    Ok(CheckedReturns { pending, found })
}

impl Pending {
    /// What is left to do about early returns, if anything is.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let decided = self.decided;
        (decided > 0).then(|| {
            format!(
                "{decided} early returns wait although their purchase is decided; a flush file takes them up: \
                 'shopctl ingest --once' makes it (docs/runbook.md#pending-returns)"
            )
        })
    }
}

/// How many are kept for reported tasks, and how many wait for no purchase any more.
async fn count(store: &dyn CacheStore, reported: &BTreeMap<TaskKey, u64>) -> crate::base::db::Result<(u64, u64)> {
    Ok((count_kept(store, reported).await?, store.backlog().await?.decided()))
}

/// Held less released.
fn pending_of(ledger: &Ledger) -> i64 {
    let counts = ledger.shard_worker.counts;
    number(counts.held).saturating_sub(number(counts.released))
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

async fn count_kept(store: &dyn CacheStore, reported: &BTreeMap<TaskKey, u64>) -> crate::base::db::Result<u64> {
    let (mut kept, mut after): (u64, Option<(FileName, u64)>) = (0, None);
    loop {
        let page = store.list_pending(after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(kept);
        };
        after = Some((last.file.clone(), last.line));
        let is_reported = |task: &TaskKey| reported.contains_key(task);
        let counts =
            page.iter().filter(|held| is_reported(&held.put_by()) && !held.taken_by().is_some_and(is_reported));
        kept += counts.count() as u64;
    }
}
