//! An order: every line that names it, what became of each, the books and the money.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::databases;
use crate::base::boot::Failure;
use crate::base::config::Principal;
use crate::pipeline::balance::client::BalanceClient;
use crate::pipeline::cache::client::CacheClient;
use crate::pipeline::event::ShardId;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::ops::dead_letters::LineAt;
use crate::pipeline::ops::trace::naming::{Said, kind_name};
use crate::pipeline::ops::trace::order::{Evidence, Gathered, Rejection, Search};
use crate::pipeline::ops::trace::services::{self, Kept, MovedMoney, ServiceAnswer};
use crate::pipeline::ops::trace::verdict::{KnownFacts, TraceVerdict, verdict};
use crate::pipeline::ops::tracking::find_tracking;
use crate::pipeline::settings::Context;
use crate::pipeline::shard_db::trace::{FoundRow, Question, TraceAnswer};
use crate::pipeline::task::wire::FileResponse;
use crate::pipeline::task::{FileName, FileView, Stage};

/// The way of an order.
#[derive(Debug, Serialize)]
pub(crate) struct OrderReport {
    pub(crate) order_id: i64,
    pub(crate) lines: Vec<Line>,
    pub(crate) books: Vec<Book>,
    pub(crate) money: ServiceAnswer<MovedMoney>,
    pub(crate) kept_returns: ServiceAnswer<Vec<Kept>>,
    pub(crate) files_read: u64,
    pub(crate) bytes_read: u64,
    pub(crate) databases_asked: usize,
    /// Lines of the order beyond the most that are shown.
    pub(crate) lines_left_out: u64,
    /// Lines that are too long to be looked into.
    pub(crate) lines_too_long: u64,
    /// The files of the lines, as the tracking database has them.
    pub(crate) tracked: BTreeMap<FileName, FileResponse>,
}

/// One line of the order.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    #[serde(flatten)]
    pub(crate) at: LineAt,
    pub(crate) says: Option<Said>,
    pub(crate) shard: Option<ShardId>,
    #[serde(flatten)]
    pub(crate) outcome: LineOutcome,
    /// The file of the task that decided it, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decided_with: Option<FileName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) row: Option<ReportRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redriven_from: Option<LineAt>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) redriven_to: Vec<LineAt>,
}

/// What became of a line.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum LineOutcome {
    Rejected { decision: &'static str, rejection: Rejection },
    Other(TraceVerdict),
}

/// A row of a shard's database.
#[derive(Debug, Serialize)]
pub(crate) struct ReportRow {
    pub(crate) shard: ShardId,
    pub(crate) id: u64,
    pub(crate) created_at: String,
}

/// What the books of one shard have.
#[derive(Debug, Serialize)]
pub(crate) struct Book {
    pub(crate) shard: ShardId,
    /// `purchase_history` or `order_return`.
    pub(crate) table: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shop_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) good_id: Option<i64>,
    pub(crate) qty: i64,
    /// The price apiece, or what was paid back.
    pub(crate) amount: String,
    pub(crate) at: String,
}

/// What is known of the order.
///
/// # Errors
/// [`Failure`] when something cannot be read, or it was not found.
pub(crate) async fn report(ctx: &Context, order: i64) -> Result<OrderReport, Failure> {
    let report = follow(ctx, order).await?;
    if report.lines.is_empty() && report.books.is_empty() {
        return Err(Failure::new(format!(
            "order {order} was not found in {} files ({} bytes read), nor in the books of {} shard databases",
            report.files_read, report.bytes_read, report.databases_asked
        )));
    }
    Ok(report)
}

async fn follow(ctx: &Context, order: i64) -> Result<OrderReport, Failure> {
    let settings = &ctx.settings;
    let folder = Folder::new(&settings.shared.dir);
    let search = Search::new(folder, settings.events.max_payload_size, ctx.stop.clone());
    let mut gathered = tokio::task::spawn_blocking(move || search.gather(order)).await??;
    let mut views = BTreeMap::new();
    look_up(ctx, &gathered, &mut views).await?;
    let shards =
        gathered.lines.iter().filter_map(|(at, evidence)| shard_of(ctx, order, at, evidence, &views)).collect();
    let lines = gathered.lines.keys().map(|at| (at.file.clone(), at.line)).collect();
    let question = Question { lines, order: Some(order), file: None };
    let answers = databases::ask(ctx, &shards, &question).await?;
    let rows = rows(&answers);
    for (shard, row) in rows.values() {
        note_row(&mut gathered, *shard, row);
    }
    // A row may have brought a line whose event file is gone.
    look_up(ctx, &gathered, &mut views).await?;
    let users: BTreeSet<i64> = users(&gathered, &answers);
    let (balance, cache) =
        (BalanceClient::of(settings, Principal::OPERATOR), CacheClient::of(settings, Principal::OPERATOR));
    let services = move || (services::money(&balance, order, &users), services::kept(&cache, order));
    let (money, kept_returns) = tokio::task::spawn_blocking(services).await?;
    let lines = gathered.lines.iter().map(|(at, evidence)| {
        let shard = shard_of(ctx, order, at, evidence, &views);
        line(at, Evidence { shard, ..evidence.clone() }, &views, rows.get(at), &kept_returns)
    });
    let lines = lines.collect();
    Ok(OrderReport {
        order_id: order,
        lines,
        books: books(&answers),
        money,
        kept_returns,
        files_read: gathered.extent.files,
        bytes_read: gathered.extent.bytes,
        databases_asked: answers.len(),
        lines_left_out: gathered.more,
        lines_too_long: gathered.too_long,
        tracked: views.into_iter().map(|(file, view)| (file, FileResponse::from(view))).collect(),
    })
}

type Rows = BTreeMap<LineAt, (ShardId, FoundRow)>;

fn rows(answers: &BTreeMap<ShardId, TraceAnswer>) -> Rows {
    let all = answers.iter().flat_map(|(shard, answer)| answer.rows.iter().map(|row| (*shard, row.clone())));
    all.map(|(shard, row)| (LineAt { file: row.source_file.clone(), line: row.source_line }, (shard, row))).collect()
}

/// A row says what its line said, also when the event file is gone.
fn note_row(gathered: &mut Gathered, shard: ShardId, row: &FoundRow) {
    let at = LineAt { file: row.source_file.clone(), line: row.source_line };
    let evidence = gathered.lines.entry(at).or_default();
    evidence.shard = Some(shard);
    evidence.said.get_or_insert_with(|| Said {
        kind: crate::pipeline::event::Kind::from_number(row.event_type.into()).map(kind_name),
        timestamp: Some(row.timestamp.to_string()),
        shop_id: row.shop_id,
        user_id: row.user_id,
        ..Said::default()
    });
}

type Views = BTreeMap<FileName, FileView>;

/// Looks up the files that the lines stood in or were decided with.
async fn look_up(ctx: &Context, gathered: &Gathered, views: &mut Views) -> Result<(), Failure> {
    let own = gathered.lines.keys().map(|at| &at.file);
    let with = gathered.lines.values().filter_map(decided_with);
    let missing: BTreeSet<&FileName> = own.chain(with).filter(|file| !views.contains_key(*file)).collect();
    let Some(tracking) = (if missing.is_empty() { None } else { find_tracking(ctx).await? }) else {
        return Ok(());
    };
    for file in missing {
        if let Some(view) = tracking.find_file(file).await? {
            views.insert(file.clone(), view);
        }
    }
    tracking.close().await;
    Ok(())
}

/// A file keeps the number of shards that it was registered with.
fn shard_of(ctx: &Context, order: i64, at: &LineAt, evidence: &Evidence, views: &Views) -> Option<ShardId> {
    let count = views.get(&at.file).map_or(ctx.settings.pipeline.shards_count, |view| view.shards_count);
    let is_of_none = evidence.rejection.as_ref().is_some_and(|rejection| rejection.stage == Stage::ShardSplitter);
    let routed = if is_of_none { None } else { evidence.said.as_ref().and_then(|said| said.shard(order, count)) };
    evidence.shard.or(routed)
}

fn decided_with(evidence: &Evidence) -> Option<&FileName> {
    evidence.rejection.as_ref().map(|rejection| &rejection.with).or(evidence.prepared_with.as_ref())
}

fn users(gathered: &Gathered, answers: &BTreeMap<ShardId, TraceAnswer>) -> BTreeSet<i64> {
    let said = gathered.lines.values().filter_map(|evidence| evidence.said.as_ref()?.user_id);
    said.chain(answers.values().filter_map(|answer| answer.purchase.as_ref()?.user_id)).collect()
}

fn line(
    at: &LineAt,
    evidence: Evidence,
    views: &Views,
    row: Option<&(ShardId, FoundRow)>,
    kept: &ServiceAnswer<Vec<Kept>>,
) -> Line {
    let kept = match kept {
        ServiceAnswer::Answer(kept) => Some(kept.iter().find(|kept| kept.line == *at)),
        ServiceAnswer::NotAnswered(_) => None,
    };
    let known = KnownFacts {
        has_row: row.is_some(),
        is_prepared: evidence.prepared_with.is_some(),
        is_held: kept.map(|kept| kept.is_some_and(|kept| kept.state == "waiting")),
        is_return: evidence.said.as_ref().and_then(|said| said.kind) == Some("return"),
        shard: evidence.shard,
        file: views.get(&at.file),
    };
    let decided_with = decided_with(&evidence).cloned();
    let outcome = match evidence.rejection {
        Some(rejection) => LineOutcome::Rejected { decision: "rejected", rejection },
        None => LineOutcome::Other(verdict(&known)),
    };
    let taken_with = kept.flatten().and_then(|kept| kept.taken_with.as_ref()?.parse().ok());
    Line {
        at: at.clone(),
        says: evidence.said,
        shard: evidence.shard,
        outcome,
        decided_with: decided_with.or(taken_with).filter(|file| *file != at.file),
        row: row.map(|(shard, row)| ReportRow { shard: *shard, id: row.id, created_at: row.created_at.to_string() }),
        redriven_from: evidence.from,
        redriven_to: evidence.to,
    }
}

fn books(answers: &BTreeMap<ShardId, TraceAnswer>) -> Vec<Book> {
    let mut books = Vec::new();
    for (shard, answer) in answers {
        books.extend(answer.purchase.as_ref().map(|purchase| Book {
            shard: *shard,
            table: "purchase_history",
            user_id: purchase.user_id,
            shop_id: Some(purchase.shop_id),
            good_id: Some(purchase.good_id),
            qty: purchase.qty,
            amount: purchase.price.to_string(),
            at: purchase.at.to_string(),
        }));
        books.extend(answer.returns.iter().map(|one| Book {
            shard: *shard,
            table: "order_return",
            user_id: None,
            shop_id: None,
            good_id: None,
            qty: one.qty,
            amount: one.amount.to_string(),
            at: one.at.to_string(),
        }));
    }
    books
}
