//! The balance store. The rows of a batch's users are locked first, in the order of their ids; keys that are seen in two
//! batches at once belong to the same user, so that the second one waits and then finds what the first one decided.

use std::collections::HashMap;

use async_trait::async_trait;
use mysql_async::{Row, Value, params};

use crate::base::clock::Clock;
use crate::base::db::mysql::bulk;
use crate::base::db::mysql::database::{Database, Tx, Work};
use crate::base::db::mysql::value::{count, get, minor_units, moment};
use crate::base::db::url::Server;
use crate::base::db::{Error, Result};
use crate::pipeline::balance::sql::move_money;
use crate::pipeline::balance::store::{BalanceStore, KnownOperation, OperationBatch, outcome_of};
use crate::pipeline::columns::mysql::{money, money_value};
use crate::pipeline::event::Money;
use crate::pipeline::schemas::BALANCE;
use crate::pipeline::trade::{
    Account, Amount, Answer, Booked, Operation, OperationKind, Outcome, Statement, Totals, Transaction, UserId,
};

/// An amount that is bound as text: compared as a text it would go through a float.
const AMOUNT: &str = "CAST(:amount AS DECIMAL(18,2))";

/// [`BalanceStore`] in a database of a server.
pub(crate) struct MysqlBalance {
    database: Database,
    opening: Money,
}

impl MysqlBalance {
    /// The balance database at this place; it is not asked anything yet.
    pub(crate) fn new(server: &Server, clock: Clock, opening: Money) -> Self {
        Self { database: Database::new(server, &BALANCE, clock), opening }
    }

    #[cfg(test)]
    pub(crate) fn of(database: Database) -> Self {
        Self { database, opening: Money::from_minor(0) }
    }
}

#[async_trait]
impl BalanceStore for MysqlBalance {
    async fn ping(&self) -> Result<()> {
        self.database.ping("UPDATE user SET id = id WHERE id = 0").await
    }

    async fn apply(&self, operations: &[Operation]) -> Result<Vec<Answer>> {
        self.database.write(&Apply { batch: OperationBatch::new(operations)?, opening: self.opening }).await
    }

    async fn find_account(&self, user: UserId) -> Result<Option<Account>> {
        self.database.write(&FindAccount(user)).await
    }

    async fn statement(&self, user: UserId, before: Option<u64>, limit: u32) -> Result<Statement> {
        self.database.read(&Page { user, before, limit }).await
    }

    async fn list_booked(&self, after: Option<UserId>, limit: u32) -> Result<Vec<Booked>> {
        self.database.read(&ListBooked { after, limit }).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.database.read(&AddUp).await
    }

    async fn net_under(&self, prefix: &str) -> Result<i128> {
        self.database.read(&NetUnder(prefix)).await
    }

    async fn close(&self) {
        self.database.close().await;
    }
}

/// Takes a batch. After a commit whose answer was lost, every operation of it is a repeated one.
struct Apply<'a> {
    batch: OperationBatch<'a>,
    opening: Money,
}

#[async_trait]
impl Work for Apply<'_> {
    type Out = Vec<Answer>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Answer>> {
        self.lock_users(tx).await?;
        let mut answers = self.known(tx).await?;
        let mut new = Vec::new();
        for operation in self.batch.distinct() {
            if answers.contains_key(&operation.key) {
                continue;
            }
            let outcome = outcome_of(operation, update(tx, operation).await?)?;
            answers.insert(&operation.key, Answer { outcome, is_repeated: false });
            new.push((operation, outcome));
        }
        write_down(tx, &new).await?;
        self.batch.answers(&answers)
    }
}

impl<'a> Apply<'a> {
    /// Locks the rows of all users, making those that are missing.
    async fn lock_users(&self, tx: &mut Tx<'_>) -> Result<()> {
        let opening = money_value(self.opening);
        let users = self.batch.users().into_iter();
        let rows = users.map(|user| vec![Value::from(user.get()), opening.clone(), opening.clone()]).collect();
        let head = "INSERT INTO user (id, balance, opening_balance, created_at, updated_at)";
        let row = "(?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))";
        // The assignment changes nothing; it locks a row that is there, one by one in the order of the values.
        bulk::insert(tx, head, row, " ON DUPLICATE KEY UPDATE id = id", rows).await.map(drop)
    }

    /// The answers to operations whose keys were used before.
    async fn known(&self, tx: &mut Tx<'_>) -> Result<HashMap<&'a crate::pipeline::trade::OperationKey, Answer>> {
        let mut wanted: HashMap<&[u8], &'a Operation> = HashMap::new();
        let mut keys = Vec::new();
        for operation in self.batch.distinct() {
            wanted.insert(operation.key.as_str().as_bytes(), operation);
            keys.push(Value::from(operation.key.as_str().as_bytes()));
        }
        let select = "SELECT idempotency_key, user_id, type, amount, outcome FROM account_operation
             WHERE idempotency_key IN ({list})";
        let mut answers = HashMap::new();
        for row in &bulk::select(tx, select, &[], &keys).await? {
            let key: Vec<u8> = get(row, "idempotency_key")?;
            let operation = wanted.get(key.as_slice());
            let operation =
                operation.ok_or_else(|| Error::broken("a key was found that was not asked for".to_owned()))?;
            answers.insert(&operation.key, known(row, operation)?.answer(operation)?);
        }
        Ok(answers)
    }
}

/// The operation that stands under a key.
fn known(row: &Row, asked: &Operation) -> Result<KnownOperation> {
    let minor = money(row, "amount")?.minor();
    let outcome: String = get(row, "outcome")?;
    let bad = |column: &str, value: &dyn std::fmt::Display| Error::broken(format!("column {column} holds {value}"));
    Ok(KnownOperation {
        operation: Operation {
            key: asked.key.clone(),
            user: user_column(row, "user_id")?,
            kind: kind_column(row)?,
            amount: Amount::from_minor(minor).ok_or_else(|| bad("amount", &minor))?,
            reason: String::new(),
        },
        outcome: Outcome::from_name(&outcome).ok_or_else(|| bad("outcome", &outcome))?,
    })
}

/// Moves the money; false if the balance does not allow it.
async fn update(tx: &mut Tx<'_>, operation: &Operation) -> Result<bool> {
    let max = format!("CAST('{}' AS DECIMAL(18,2))", Money::MAX);
    let statement = move_money(operation.kind).replace("{amount}", AMOUNT).replace("{max}", &max);
    let values = params! { "amount" => operation.amount.money().to_string(), "user" => operation.user.get() };
    Ok(tx.change(&statement.replace("{now}", "UTC_TIMESTAMP(3)"), values).await? > 0)
}

/// Writes down what came of operations that are new.
async fn write_down(tx: &mut Tx<'_>, new: &[(&Operation, Outcome)]) -> Result<()> {
    let values = |operation: &Operation| {
        vec![
            Value::from(operation.key.as_str().as_bytes()),
            Value::from(operation.user.get()),
            money_value(operation.amount.money()),
            Value::from(operation.kind.name()),
        ]
    };
    let (mut operations, mut transactions) = (Vec::new(), Vec::new());
    for (operation, outcome) in new {
        operations.push([values(operation), vec![Value::from(outcome.name())]].concat());
        if *outcome == Outcome::Applied {
            transactions.push([values(operation), vec![Value::from(operation.reason.as_str())]].concat());
        }
    }
    let row = "(?, ?, ?, ?, ?, UTC_TIMESTAMP(3))";
    let head = "INSERT INTO account_operation (idempotency_key, user_id, amount, type, outcome, created_at)";
    let of_operations = bulk::insert(tx, head, row, "", operations).await?;
    let head = "INSERT INTO account_transaction (idempotency_key, user_id, amount, type, reason, created_at)";
    if of_operations && bulk::insert(tx, head, row, "", transactions).await? {
        return Ok(());
    }
    // Another batch used one of the keys for another user meanwhile. Run again, this one finds it and says so.
    Err(Error::busy("a key was used by another batch at the same moment".to_owned()))
}

/// One user's account.
struct FindAccount(UserId);

#[async_trait]
impl Work for FindAccount {
    type Out = Option<Account>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Account>> {
        let Some(row) = tx.first("SELECT * FROM user WHERE id = ?", (self.0.get(),)).await? else {
            return Ok(None);
        };
        Ok(Some(Account {
            user: self.0,
            name: get(&row, "name")?,
            role: get(&row, "role")?,
            balance: money(&row, "balance")?,
            opening: money(&row, "opening_balance")?,
            created_at: moment(&row, "created_at")?,
        }))
    }
}

/// A page of a user's transactions.
struct Page {
    user: UserId,
    before: Option<u64>,
    limit: u32,
}

#[async_trait]
impl Work for Page {
    type Out = Statement;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Statement> {
        if FindAccount(self.user).run(tx).await?.is_none() {
            return Err(Error::Gone(format!("user {}", self.user)));
        }
        let before = self.before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        let select = "SELECT id, amount, type, reason, idempotency_key, created_at FROM account_transaction
             WHERE user_id = ? AND id < ? ORDER BY id DESC LIMIT ?";
        let rows = tx.rows(select, (self.user.get(), before, i64::from(self.limit) + 1)).await?;
        let transactions = rows.iter().map(|row| {
            let key: Vec<u8> = get(row, "idempotency_key")?;
            Ok(Transaction {
                id: count(row, "id")?,
                key: String::from_utf8_lossy(&key).into_owned(),
                kind: kind_column(row)?,
                amount: money(row, "amount")?,
                reason: get(row, "reason")?,
                created_at: moment(row, "created_at")?,
            })
        });
        Ok(Statement::of_rows(transactions.collect::<Result<_>>()?, self.limit))
    }
}

/// Accounts beside the sums of their transactions.
struct ListBooked {
    after: Option<UserId>,
    limit: u32,
}

#[async_trait]
impl Work for ListBooked {
    type Out = Vec<Booked>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Booked>> {
        let select = "SELECT u.id, u.balance, u.opening_balance, COUNT(t.id) AS transactions,
               COALESCE(SUM(CASE t.type WHEN 'credit' THEN t.amount ELSE -t.amount END), 0) AS net
             FROM (SELECT id, balance, opening_balance FROM user WHERE id > ? ORDER BY id LIMIT ?) u
             LEFT JOIN account_transaction t ON t.user_id = u.id
             GROUP BY u.id, u.balance, u.opening_balance ORDER BY u.id";
        let rows = tx.rows(select, (self.after.map_or(0, UserId::get), self.limit)).await?;
        let booked = rows.iter().map(|row| {
            Ok(Booked {
                user: user_column(row, "id")?,
                balance: minor_units(row, "balance")?,
                opening: minor_units(row, "opening_balance")?,
                net: minor_units(row, "net")?,
                transactions: count(row, "transactions")?,
            })
        });
        booked.collect()
    }
}

/// Everything added up.
struct AddUp;

#[async_trait]
impl Work for AddUp {
    type Out = Totals;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Totals> {
        let accounts = "SELECT COUNT(*) AS users, COALESCE(SUM(balance), 0) AS balance,
               COALESCE(SUM(opening_balance), 0) AS opening, COUNT(CASE WHEN balance < 0 THEN 1 END) AS negative FROM user";
        let moved = "SELECT COUNT(*) AS transactions,
               COALESCE(SUM(CASE type WHEN 'credit' THEN amount END), 0) AS credits,
               COALESCE(SUM(CASE type WHEN 'debit' THEN amount END), 0) AS debits FROM account_transaction";
        let unbalanced = "SELECT COUNT(*) AS unbalanced FROM (
               SELECT u.id FROM user u LEFT JOIN account_transaction t ON t.user_id = u.id
               GROUP BY u.id, u.balance, u.opening_balance
               HAVING u.balance <> u.opening_balance
                 + COALESCE(SUM(CASE t.type WHEN 'credit' THEN t.amount ELSE -t.amount END), 0)) x";
        let mut totals = Totals::default();
        if let Some(row) = tx.first(accounts, ()).await? {
            totals.users = count(&row, "users")?;
            totals.balance = minor_units(&row, "balance")?;
            totals.opening = minor_units(&row, "opening")?;
            totals.negative = count(&row, "negative")?;
        }
        if let Some(row) = tx.first(moved, ()).await? {
            totals.transactions = count(&row, "transactions")?;
            totals.credits = minor_units(&row, "credits")?;
            totals.debits = minor_units(&row, "debits")?;
        }
        if let Some(row) = tx.first(unbalanced, ()).await? {
            totals.unbalanced = count(&row, "unbalanced")?;
        }
        Ok(totals)
    }
}

/// Adds up what was moved under keys that begin with this.
struct NetUnder<'a>(&'a str);

#[async_trait]
impl Work for NetUnder<'_> {
    type Out = i128;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<i128> {
        let sum = "SELECT COALESCE(SUM(CASE type WHEN 'debit' THEN amount ELSE -amount END), 0) AS net
             FROM account_transaction WHERE LEFT(idempotency_key, ?) = ?";
        let row = tx.first(sum, (self.0.len(), self.0.as_bytes())).await?;
        row.map_or(Ok(0), |row| minor_units(&row, "net"))
    }
}

fn user_column(row: &Row, column: &str) -> Result<UserId> {
    let number: i64 = get(row, column)?;
    UserId::new(number).ok_or_else(|| Error::broken(format!("column {column} holds {number}")))
}

fn kind_column(row: &Row) -> Result<OperationKind> {
    let name: String = get(row, "type")?;
    OperationKind::from_name(&name).ok_or_else(|| Error::broken(format!("column type holds '{name}'")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::db::mysql::testing::{TestDatabase, on_every_server};
    use crate::pipeline::trade::OperationKey;

    /// A server that takes so little.
    const PACKET_BYTES: usize = 64 << 10;

    on_every_server! {
        statements_about_money_stay_under_a_quarter_of_what_the_server_takes
    }

    async fn statements_about_money_stay_under_a_quarter_of_what_the_server_takes(variable: &str) {
        let place = TestDatabase::made(variable, "small_packets", &BALANCE).await;
        let store = MysqlBalance::of(Database::of_small_packets(&place.server, &BALANCE, PACKET_BYTES));
        let operations = (1..=700).map(|number| Operation {
            key: OperationKey::new(format!("{number:0>200}")).unwrap(),
            user: UserId::new(number).unwrap(),
            kind: OperationKind::Credit,
            amount: Amount::from_minor(999).unwrap(),
            reason: "x".repeat(200),
        });
        let operations: Vec<Operation> = operations.collect();
        for is_repeated in [false, true] {
            let answers = store.apply(&operations).await.unwrap();
            assert!(answers.len() == 700 && answers.iter().all(|answer| answer.is_repeated == is_repeated));
        }
        store.close().await;
        place.drop().await;
    }
}
