//! All checks of the audit, one after another.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reports::Reports;
use super::state::{Books, ComparedBooks};
use super::{Accounts, Check, Pending, directory_check, money, pending};
use crate::base::boot::Failure;
use crate::pipeline::apid::store::{Tracking, for_each_file};
use crate::pipeline::event::ShardId;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::ingest::journal;
use crate::pipeline::ops::tracking::get_tracking;
use crate::pipeline::schemas;
use crate::pipeline::settings::Context;
use crate::pipeline::shard_db::store::{find_shard_database, open_shard};
use crate::pipeline::shard_db::{Census, ShardStore};
use crate::pipeline::task::Ledger;

/// What the audit found.
#[derive(Debug, Serialize)]
pub struct Audit {
    /// The stages' reports, added up, and all differences.
    pub ledger: Ledger,
    /// Rows in the shard databases.
    pub rows: BTreeMap<ShardId, u64>,
    /// Lines in the rejects files.
    pub rejects: u64,
    /// The accounts: opening and transactions beside the balances.
    pub accounts: Accounts,
    /// Stock, prices and shops: the books beside the worker's state.
    pub stock: BTreeMap<ShardId, Check>,
    /// Orders and their returns: the books beside the worker's state.
    pub orders: BTreeMap<ShardId, Check>,
    /// The order directory beside the workers' states.
    pub directory: Check,
    /// Early returns: the reports beside what is kept.
    pub pending: Pending,
    /// Event files that are not announced yet: they are safe, and not counted above.
    pub unannounced_files: u64,
    /// Bytes of acknowledged posts that wait for the next tick: safe, and not counted above.
    pub spooled_bytes: u64,
    /// Lines that have not ended anywhere yet.
    pub lines_in_flight: u64,
}

impl Audit {
    /// Whether everything adds up.
    pub fn is_clean(&self) -> bool {
        self.ledger.difference_count == 0
    }
}

/// Adds everything up. With `settled`, unfinished work is a difference.
///
/// # Errors
/// [`Failure`] when a database cannot be opened or read.
pub async fn audit(ctx: &Context, settled: bool) -> Result<Audit, Failure> {
    // An audit that creates an empty database and finds nothing wrong with it would prove nothing.
    let tracking = get_tracking(ctx).await?;
    let audit = audit_tracked(ctx, tracking.as_ref(), settled).await;
    tracking.close().await;
    audit
}

async fn audit_tracked(ctx: &Context, tracking: &dyn Tracking, settled: bool) -> Result<Audit, Failure> {
    let folder = Folder::new(&ctx.settings.shared.dir);
    let mut reports = Reports::default();
    let mut readable = Ok(());
    for_each_file(tracking, |file| {
        if readable.is_ok() {
            readable = reports.add(file, &folder);
        }
    })
    .await?;
    readable?;
    let shards = look_at_shards(ctx, &folder, &mut reports, tracking, settled).await?;
    // While a task has yet to be decided, its debits may be there before its orders.
    let tasks = reports.ledger.shard_worker.tasks;
    let paid = shards.paid.filter(|_| tasks.new + tasks.started + tasks.failed == 0);
    let mut accounts = money::check(ctx, shards.moved_money, paid).await?;
    if let Some(difference) = accounts.unpaired.take()
        && !reports.have_moved_on(tracking).await?
    {
        accounts.differ(difference);
    }
    reports.note(None, &accounts.found);
    let pending = pending::check(ctx, &reports, tracking).await?;
    reports.note(None, &pending.found);
    let directory = directory_check::check(ctx, &reports).await?;
    reports.note(None, &directory);
    let unannounced_files = reports.check_event_files(&folder)?;
    let spooled_bytes = journal::waiting_bytes(&folder)?;
    let mut ledger = reports.ledger;
    if settled && (ledger.open_tasks > 0 || unannounced_files > 0 || spooled_bytes > 0) {
        let open = ledger.open_tasks;
        let what = format!(
            "{open} tasks are not finished, {unannounced_files} files not announced, {spooled_bytes} posted bytes in no file yet"
        );
        ledger.differ(None, None, what);
    }
    if let Some(what) = pending.pending.unfinished().filter(|_| settled) {
        ledger.differ(None, None, what);
    }
    let lines_in_flight = ledger.lines_in_flight();
    if ledger.open_tasks == 0 && lines_in_flight > 0 && ledger.difference_count == 0 {
        ledger.differ(None, None, format!("all tasks are finished, but {lines_in_flight} lines ended nowhere"));
    }
    Ok(Audit {
        ledger,
        rows: shards.rows,
        rejects: reports.rejects,
        accounts: accounts.accounts,
        stock: shards.stock,
        orders: shards.orders,
        directory: directory.check(),
        pending: pending.pending,
        unannounced_files,
        spooled_bytes,
        lines_in_flight,
    })
}

/// What was found in the shards.
#[derive(Default)]
struct Shards {
    rows: BTreeMap<ShardId, u64>,
    stock: BTreeMap<ShardId, Check>,
    orders: BTreeMap<ShardId, Check>,
    /// A shard with an order that a user paid for.
    moved_money: Option<ShardId>,
    /// Whether such a shard is looked for: only where no balance database was in use.
    seeks_money: bool,
    /// What users paid for all orders in the books; nothing where some could not be compared.
    paid: Option<i128>,
}

/// Every shard that was tracked, and every shard database that is there: rows that no task knows are a difference.
async fn look_at_shards(
    ctx: &Context,
    folder: &Folder,
    reports: &mut Reports,
    tracking: &dyn Tracking,
    settled: bool,
) -> Result<Shards, Failure> {
    let is_banked = money::is_used(&ctx.settings.database.balance, &schemas::BALANCE).await?;
    let mut shards = Shards { seeks_money: !is_banked, paid: Some(0), ..Shards::default() };
    for shard in ShardId::all() {
        let is_tracked = reports.shards.contains(&shard);
        let Some(url) = find_shard_database(&ctx.settings, shard, is_tracked)? else {
            if is_tracked {
                reports.compare_rows(shard, &Census::default(), tracking).await?;
                shards.rows.insert(shard, 0);
            }
            continue;
        };
        let store = open_shard(&url, ctx.clock.clone()).await?;
        let looked = look_at_shard(store.as_ref(), shard, folder, reports, tracking, &mut shards).await;
        store.close().await;
        looked?;
        let check = &shards.orders[&shard];
        if let Some(why) =
            check.note.as_ref().filter(|_| check.is_under_way && settled && reports.ledger.open_tasks == 0)
        {
            reports.ledger.differ(None, Some(shard), format!("stock and orders could not be compared: {why}"));
        }
    }
    Ok(shards)
}

async fn look_at_shard(
    store: &dyn ShardStore,
    shard: ShardId,
    folder: &Folder,
    reports: &mut Reports,
    tracking: &dyn Tracking,
    shards: &mut Shards,
) -> crate::base::db::Result<()> {
    let census = store.census(shard).await?;
    reports.compare_rows(shard, &census, tracking).await?;
    shards.rows.insert(shard, census.rows);
    let state = folder.worker_state(shard);
    let books = Books { store, shard, census: &census, in_order: !reports.out_of_order.contains(&shard) };
    let ComparedBooks { stock, orders, paid } = books.compare(&state).await?;
    shards.paid = shards.paid.zip(paid).map(|(others, own)| others + own);
    reports.note(Some(shard), &stock);
    reports.note(Some(shard), &orders);
    shards.stock.insert(shard, stock.check());
    shards.orders.insert(shard, orders.check());
    if shards.seeks_money && money::was_moved(store).await? {
        (shards.seeks_money, shards.moved_money) = (false, Some(shard));
    }
    Ok(())
}
