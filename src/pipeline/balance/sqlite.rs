//! The balance store. One writer at a time: the transaction's write lock is the lock of all rows.

use std::collections::HashMap;
use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, Row, Transaction as Tx, TransactionBehavior, named_params, params};

use crate::base::clock::Clock;
use crate::base::db::sqlite::db::{Db, count_column, timestamp_column, timestamp_text};
use crate::base::db::{Error, Result};
use crate::pipeline::balance::sql::move_money;
use crate::pipeline::balance::store::{BalanceStore, KnownOperation, OperationBatch, outcome_of};
use crate::pipeline::event::Money;
use crate::pipeline::schemas::BALANCE;
use crate::pipeline::trade::{
    Account, Amount, Answer, Booked, Operation, OperationKind, Outcome, Statement, Totals, Transaction, UserId,
};

/// Sums are made of two halves: SQLite's own sum of large amounts would overflow.
const HALF: i128 = 1_000_000_000;

/// [`BalanceStore`] in one SQLite file.
pub(crate) struct SqliteBalance {
    db: Db,
    clock: Clock,
    opening: Money,
}

impl SqliteBalance {
    /// Opens the database, creating it where needed.
    pub(crate) async fn open(path: &Path, clock: Clock, opening: Money) -> Result<Self> {
        Ok(Self { db: Db::open(path, &BALANCE).await?, clock, opening })
    }
}

#[async_trait]
impl BalanceStore for SqliteBalance {
    async fn ping(&self) -> Result<()> {
        self.db.ping("user").await
    }

    async fn apply(&self, operations: &[Operation]) -> Result<Vec<Answer>> {
        let (operations, now, opening) = (operations.to_vec(), timestamp_text(self.clock.now()), self.opening);
        self.db.call(move |connection| apply(connection, &OperationBatch::new(&operations)?, opening, &now)).await
    }

    async fn find_account(&self, user: UserId) -> Result<Option<Account>> {
        self.db.call(move |connection| find_account(connection, user)).await
    }

    async fn statement(&self, user: UserId, before: Option<u64>, limit: u32) -> Result<Statement> {
        self.db.call(move |connection| statement(connection, user, before, limit)).await
    }

    async fn list_booked(&self, after: Option<UserId>, limit: u32) -> Result<Vec<Booked>> {
        self.db.call(move |connection| list_booked(connection, after, limit)).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.db.call(|connection| totals(&connection.transaction()?)).await
    }

    async fn net_under(&self, prefix: &str) -> Result<i128> {
        let prefix = prefix.as_bytes().to_vec();
        let sums =
            "SELECT COALESCE(SUM(signed / 1000000000), 0) AS net_high, COALESCE(SUM(signed % 1000000000), 0) AS net_low
             FROM (SELECT CASE type WHEN 'debit' THEN amount ELSE -amount END AS signed FROM account_transaction
               WHERE substr(idempotency_key, 1, length(?1)) = ?1)";
        self.db
            .call(move |connection| connection.query_row_and_then(sums, params![prefix], |row| sum_of(row, "net")))
            .await
    }
}

fn apply(connection: &mut Connection, batch: &OperationBatch<'_>, opening: Money, now: &str) -> Result<Vec<Answer>> {
    // Dropped without a commit, on whatever error, the transaction rolls back.
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for user in batch.users() {
        tx.prepare_cached(
            "INSERT INTO user (id, balance, opening_balance, created_at, updated_at) VALUES (?1, ?2, ?2, ?3, ?3)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![user.get(), opening.minor(), now])?;
    }
    let statements = Statements::new();
    let mut answers = HashMap::new();
    for operation in batch.distinct() {
        let answer = match take(&tx, operation, &statements, now)? {
            Some(outcome) => Answer { outcome, is_repeated: false },
            None => known(&tx, operation)?.answer(operation)?,
        };
        answers.insert(&operation.key, answer);
    }
    let answers = batch.answers(&answers)?;
    tx.commit()?;
    Ok(answers)
}

/// The operation that a key stands for that was used before.
fn known(tx: &Tx<'_>, operation: &Operation) -> Result<KnownOperation> {
    let mut select =
        tx.prepare_cached("SELECT user_id, type, amount, outcome FROM account_operation WHERE idempotency_key = ?1")?;
    let mut rows = select.query([operation.key.as_str().as_bytes()])?;
    let Some(row) = rows.next()? else {
        return Err(Error::broken(format!("the key '{}' was there and is gone", operation.key.as_str())));
    };
    let amount: i64 = row.get("amount")?;
    let outcome: String = row.get("outcome")?;
    let bad = |column: &str, value: &dyn std::fmt::Display| Error::broken(format!("column {column} holds {value}"));
    Ok(KnownOperation {
        operation: Operation {
            key: operation.key.clone(),
            user: user_column(row, "user_id")?,
            kind: kind_column(row)?,
            amount: Amount::from_minor(amount).ok_or_else(|| bad("amount", &amount))?,
            reason: String::new(),
        },
        outcome: Outcome::from_name(&outcome).ok_or_else(|| bad("outcome", &outcome))?,
    })
}

/// What moves money, in SQLite's words.
struct Statements {
    debit: String,
    credit: String,
}

impl Statements {
    fn new() -> Self {
        let max = Money::MAX.minor().to_string();
        let of = |kind| move_money(kind).replace("{amount}", ":amount").replace("{now}", ":now").replace("{max}", &max);
        Self { debit: of(OperationKind::Debit), credit: of(OperationKind::Credit) }
    }

    fn of(&self, kind: OperationKind) -> &str {
        match kind {
            OperationKind::Debit => &self.debit,
            OperationKind::Credit => &self.credit,
        }
    }
}

/// Takes one operation, if its key is new, and writes down what came of it.
fn take(tx: &Tx<'_>, operation: &Operation, statements: &Statements, now: &str) -> Result<Option<Outcome>> {
    let (key, user) = (operation.key.as_str().as_bytes(), operation.user.get());
    let (kind, amount) = (operation.kind.name(), operation.amount.money().minor());
    // As most are: one look at the key less than to ask for it first.
    let is_new = tx
        .prepare_cached(
            "INSERT INTO account_operation (idempotency_key, user_id, amount, type, outcome, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (idempotency_key) DO NOTHING",
        )?
        .execute(params![key, user, amount, kind, Outcome::Applied.name(), now])?;
    if is_new == 0 {
        return Ok(None);
    }
    let changed = tx
        .prepare_cached(statements.of(operation.kind))?
        .execute(named_params! { ":amount": amount, ":now": now, ":user": user })?;
    let outcome = outcome_of(operation, changed > 0)?;
    if outcome == Outcome::Applied {
        tx.prepare_cached(
            "INSERT INTO account_transaction (user_id, amount, type, reason, idempotency_key, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![user, amount, kind, operation.reason, key, now])?;
    } else {
        tx.prepare_cached("UPDATE account_operation SET outcome = ?1 WHERE idempotency_key = ?2")?
            .execute(params![outcome.name(), key])?;
    }
    Ok(Some(outcome))
}

fn find_account(connection: &Connection, user: UserId) -> Result<Option<Account>> {
    let mut select = connection.prepare_cached("SELECT * FROM user WHERE id = ?1")?;
    let mut rows = select.query([user.get()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Account {
        user,
        name: row.get("name")?,
        role: row.get("role")?,
        balance: Money::from_minor(row.get("balance")?),
        opening: Money::from_minor(row.get("opening_balance")?),
        created_at: timestamp_column(row, "created_at")?,
    }))
}

fn statement(connection: &mut Connection, user: UserId, before: Option<u64>, limit: u32) -> Result<Statement> {
    // One read transaction: user and transactions of one moment.
    let tx = connection.transaction()?;
    if find_account(&tx, user)?.is_none() {
        return Err(Error::Gone(format!("user {user}")));
    }
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let mut select = tx.prepare_cached(
        "SELECT id, amount, type, reason, idempotency_key, created_at FROM account_transaction
         WHERE user_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3",
    )?;
    let mut rows = select.query(params![user.get(), before, i64::from(limit) + 1])?;
    let mut transactions = Vec::new();
    while let Some(row) = rows.next()? {
        let key: Vec<u8> = row.get("idempotency_key")?;
        transactions.push(Transaction {
            id: count_column(row, "id")?,
            key: String::from_utf8_lossy(&key).into_owned(),
            kind: kind_column(row)?,
            amount: Money::from_minor(row.get("amount")?),
            reason: row.get("reason")?,
            created_at: timestamp_column(row, "created_at")?,
        });
    }
    Ok(Statement::of_rows(transactions, limit))
}

fn list_booked(connection: &Connection, after: Option<UserId>, limit: u32) -> Result<Vec<Booked>> {
    let mut select = connection.prepare_cached(
        "SELECT u.id, u.balance, u.opening_balance, COUNT(t.id) AS transactions,
           COALESCE(SUM(CASE t.type WHEN 'credit' THEN t.amount / 1000000000 ELSE -(t.amount / 1000000000) END), 0) AS net_high,
           COALESCE(SUM(CASE t.type WHEN 'credit' THEN t.amount % 1000000000 ELSE -(t.amount % 1000000000) END), 0) AS net_low
         FROM (SELECT id, balance, opening_balance FROM user WHERE id > ?1 ORDER BY id LIMIT ?2) u
         LEFT JOIN account_transaction t ON t.user_id = u.id GROUP BY u.id ORDER BY u.id",
    )?;
    let mut rows = select.query(params![after.map_or(0, UserId::get), limit])?;
    let mut booked = Vec::new();
    while let Some(row) = rows.next()? {
        booked.push(Booked {
            user: user_column(row, "id")?,
            balance: row.get::<_, i64>("balance")?.into(),
            opening: row.get::<_, i64>("opening_balance")?.into(),
            net: sum_of(row, "net")?,
            transactions: count_column(row, "transactions")?,
        });
    }
    Ok(booked)
}

fn totals(tx: &Tx<'_>) -> Result<Totals> {
    let accounts = "SELECT COUNT(*) AS users,
           COALESCE(SUM(balance / 1000000000), 0) AS balance_high, COALESCE(SUM(balance % 1000000000), 0) AS balance_low,
           COALESCE(SUM(opening_balance / 1000000000), 0) AS opening_high,
           COALESCE(SUM(opening_balance % 1000000000), 0) AS opening_low,
           COUNT(CASE WHEN balance < 0 THEN 1 END) AS negative
         FROM user";
    let moved = "SELECT COUNT(*) AS transactions,
           COALESCE(SUM(amount / 1000000000) FILTER (WHERE type = 'credit'), 0) AS credits_high,
           COALESCE(SUM(amount % 1000000000) FILTER (WHERE type = 'credit'), 0) AS credits_low,
           COALESCE(SUM(amount / 1000000000) FILTER (WHERE type = 'debit'), 0) AS debits_high,
           COALESCE(SUM(amount % 1000000000) FILTER (WHERE type = 'debit'), 0) AS debits_low
         FROM account_transaction";
    // What no balance can be is not put together: it would overflow.
    let unbalanced = "SELECT COUNT(*) AS unbalanced FROM (
           SELECT u.balance - u.opening_balance AS net,
             COALESCE(SUM(CASE t.type WHEN 'credit' THEN t.amount / 1000000000 ELSE -(t.amount / 1000000000) END), 0) AS high,
             COALESCE(SUM(CASE t.type WHEN 'credit' THEN t.amount % 1000000000 ELSE -(t.amount % 1000000000) END), 0) AS low
           FROM user u LEFT JOIN account_transaction t ON t.user_id = u.id GROUP BY u.id)
         WHERE CASE WHEN ABS(high) > 2000000000 THEN 1 ELSE high * 1000000000 + low <> net END";
    let mut totals = tx.query_row_and_then(accounts, [], |row| {
        Ok::<_, Error>(Totals {
            users: count_column(row, "users")?,
            balance: sum_of(row, "balance")?,
            opening: sum_of(row, "opening")?,
            negative: count_column(row, "negative")?,
            ..Totals::default()
        })
    })?;
    tx.query_row_and_then(moved, [], |row| {
        totals.transactions = count_column(row, "transactions")?;
        totals.credits = sum_of(row, "credits")?;
        totals.debits = sum_of(row, "debits")?;
        Ok::<_, Error>(())
    })?;
    totals.unbalanced = tx.query_row_and_then(unbalanced, [], |row| count_column(row, "unbalanced"))?;
    Ok(totals)
}

/// A sum from the sums of its two halves.
fn sum_of(row: &Row<'_>, name: &str) -> Result<i128> {
    let (high, low): (i64, i64) = (row.get(&*format!("{name}_high"))?, row.get(&*format!("{name}_low"))?);
    Ok(i128::from(high) * HALF + i128::from(low))
}

fn user_column(row: &Row<'_>, column: &str) -> Result<UserId> {
    let number: i64 = row.get(column)?;
    UserId::new(number).ok_or_else(|| Error::broken(format!("column {column} holds {number}")))
}

fn kind_column(row: &Row<'_>) -> Result<OperationKind> {
    let name: String = row.get("type")?;
    OperationKind::from_name(&name).ok_or_else(|| Error::broken(format!("column type holds '{name}'")))
}
