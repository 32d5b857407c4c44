//! One database on a server: its connections, and transactions on them.
//!
//! Nothing is asked of the server before it is needed, so that a role starts, says that it is not ready, and goes on
//! by itself when the server comes. The first connection brings the schema up to date.

use std::time::Duration;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, IsolationLevel, OptsBuilder, Params, Pool, Row, Transaction, TxOpts};
use tokio::sync::OnceCell;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::fault::{self, no_answer};
use super::session::{self, ANSWER_MAX, CONNECT_MAX, Facts};
use super::{migrate, value};
use crate::base::clock::Clock;
use crate::base::db::error::Why;
use crate::base::db::migration::{PACKET_BYTES_MIN, Schema};
use crate::base::db::url::Server;
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;

/// Connections of one process to one database, at the most. They are opened as they are needed.
const CONNECTIONS_MAX: usize = 8;
/// A statement is no longer than this part of what the server takes (docs/semantics.md, 5).
const PACKET_PARTS: usize = 4;
/// How often a transaction is run that loses races (docs/semantics.md, 5).
const TRIES: u32 = 8;

/// What is done in one transaction. It may be run several times: nothing of a run that failed is left.
#[async_trait]
pub(crate) trait Work: Send + Sync {
    /// What it finds out.
    type Out: Send;

    /// Does it.
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out>;
}

/// A database on a server.
pub(crate) struct Database {
    pool: Pool,
    place: String,
    schema: &'static Schema,
    clock: Clock,
    /// How long the operator lets the server take for an answer.
    timeout: Option<Duration>,
    facts: OnceCell<Facts>,
}

/// A transaction on one connection. A statement that is not answered in time makes it lost: its connection must not be
/// used again, because the late answer would be taken for that of the next statement. Dropped, the driver closes it.
pub(crate) struct Tx<'c> {
    inner: Transaction<'c>,
    limit: Duration,
    bytes_max: usize,
    is_lost: bool,
}

/// An UPDATE that matches no row.
struct Ping(&'static str);

#[async_trait]
impl Work for Ping {
    type Out = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        tx.change(self.0, ()).await.map(drop)
    }
}

impl Database {
    /// The database at this place; it is not asked anything yet.
    pub(crate) fn new(server: &Server, schema: &'static Schema, clock: Clock) -> Self {
        Self::with(session::options(server, CONNECTIONS_MAX, Some(&server.database)), server, schema, clock)
    }

    fn with(options: OptsBuilder, server: &Server, schema: &'static Schema, clock: Clock) -> Self {
        let (pool, place) = (Pool::new(options), server.to_string());
        Self { pool, place, schema, clock, timeout: server.timeout, facts: OnceCell::new() }
    }

    /// Runs `work` in a transaction and commits it; again, if it lost a race or its connection. Every work must bear
    /// being run after a commit whose answer was lost.
    pub(crate) async fn write<W: Work>(&self, work: &W) -> Result<W::Out> {
        self.tries(work, &TxOpts::default(), Some(self.limit(ANSWER_MAX))).await
    }

    /// Whether the schema is there, and takes changes. The statement changes no row; a server that is read-only refuses
    /// it all the same.
    pub(crate) async fn ping(&self, unchanging: &'static str) -> Result<()> {
        self.write(&Ping(unchanging)).await
    }

    /// Runs `work` on the state of one moment.
    pub(crate) async fn read<W: Work>(&self, work: &W) -> Result<W::Out> {
        self.tries(work, &snapshot(), Some(self.limit(ANSWER_MAX))).await
    }

    /// The same for `work` that goes through a whole table in many statements: each has its limit, all of them have none.
    pub(crate) async fn scan<W: Work>(&self, work: &W) -> Result<W::Out> {
        self.tries(work, &snapshot(), None).await
    }

    async fn tries<W: Work>(&self, work: &W, options: &TxOpts, limit_of_all: Option<Duration>) -> Result<W::Out> {
        let mut tries = 1;
        loop {
            let mut connection = self.connection().await?;
            let run = self.run_once(&mut connection, work, options, self.limit(ANSWER_MAX));
            let result = match limit_of_all {
                Some(limit) => timeout(limit, run).await.unwrap_or_else(|_| Err(no_answer(limit))),
                None => run.await,
            };
            match result {
                Err(Error::Busy(why)) if tries < TRIES => {
                    log::debug!(place = self.place.as_str(), tries; "the transaction is run again: {why}");
                    let jitter = rand::random_range(5..25) * u64::from(tries);
                    tokio::time::sleep(Duration::from_millis(jitter)).await;
                    tries += 1;
                }
                // The server's own text does not say which server it is.
                Err(e) if e.is_read_only() => return Err(e.at(&self.place)),
                result => return result,
            }
        }
    }

    async fn run_once<W: Work>(
        &self,
        connection: &mut Conn,
        work: &W,
        options: &TxOpts,
        limit: Duration,
    ) -> Result<W::Out> {
        let mut tx = self.begin(connection, options.clone(), limit).await?;
        match work.run(&mut tx).await {
            Ok(out) => tx.commit().await.map(|()| out),
            Err(error) => {
                tx.roll_back().await;
                Err(error)
            }
        }
    }

    /// Begins a transaction whose statements may take so long each, on a connection of this database.
    pub(crate) async fn begin<'c>(&self, connection: &'c mut Conn, options: TxOpts, limit: Duration) -> Result<Tx<'c>> {
        let packet_bytes = self.facts.get().map_or(PACKET_BYTES_MIN, |facts| facts.packet_bytes);
        let bytes_max = packet_bytes / PACKET_PARTS;
        match timeout(limit, connection.start_transaction(options)).await {
            Ok(begun) => begun.map(|inner| Tx { inner, limit, bytes_max, is_lost: false }).map_err(fault::of_statement),
            Err(_) => Err(no_answer(limit)),
        }
    }

    /// How long an answer may take where `usual` is what fits.
    pub(crate) fn limit(&self, usual: Duration) -> Duration {
        self.timeout.unwrap_or(usual)
    }

    /// A connection whose session is checked and whose schema is up to date. Whatever is wrong here is no fault of one
    /// task: it is waited for.
    pub(crate) async fn connection(&self) -> Result<Conn> {
        let limit = self.limit(CONNECT_MAX);
        let mut connection = match timeout(limit, self.pool.get_conn()).await {
            Ok(connected) => connected.map_err(|e| fault::of_connect(e, &self.place))?,
            Err(_) => return Err(Error::unavailable(format!("{}: no connection within {limit:?}", self.place))),
        };
        let facts = self.facts.get_or_try_init(|| self.first_contact(&mut connection)).await;
        facts.map_err(|e| {
            let text = e.to_string();
            Error::Unavailable(Why::of(e, text))
        })?;
        if let Some(now) = self.clock.pinned() {
            pin_time(&mut connection, now).await?;
        }
        Ok(connection)
    }

    async fn first_contact(&self, connection: &mut Conn) -> Result<Facts> {
        let checks = async {
            let facts = session::check(connection, &self.place).await?;
            self.check_packets(facts)?;
            Ok((facts, migrate::is_current(connection, self.schema, &self.place).await?))
        };
        let (facts, is_current) = timeout(ANSWER_MAX, checks).await.unwrap_or_else(|_| Err(no_answer(ANSWER_MAX)))?;
        if !is_current {
            migrate::ensure(connection, self.schema, &self.place).await?;
        }
        let engines = session::check_engines(connection, &self.place);
        timeout(ANSWER_MAX, engines).await.unwrap_or_else(|_| Err(no_answer(ANSWER_MAX)))?;
        Ok(facts)
    }

    /// A row is in one packet, whatever else is cut.
    fn check_packets(&self, facts: Facts) -> Result<()> {
        let (found, least) = (facts.packet_bytes, self.schema.packet_bytes_min());
        if found >= least {
            return Ok(());
        }
        Err(Error::broken(format!(
            "{}: the server takes {found} bytes at once, and a row here may need {least}; \
             SET GLOBAL max_allowed_packet = {}, and the same in its configuration",
            self.place,
            least.next_power_of_two()
        )))
    }

    /// Says good-bye to the server. Nothing can be asked afterwards.
    pub(crate) async fn close(&self) {
        match timeout(CONNECT_MAX, self.pool.clone().disconnect()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => log::debug!(place = self.place.as_str(); "the connections were not closed: {e}"),
            Err(_) => log::debug!(place = self.place.as_str(); "the connections did not close in time"),
        }
    }
}

/// A transaction that sees the state of one moment.
fn snapshot() -> TxOpts {
    let mut options = TxOpts::default();
    options.with_consistent_snapshot(true).with_isolation_level(IsolationLevel::RepeatableRead);
    options
}

/// Tests move the clock: the server's own functions then tell that time on this connection.
async fn pin_time(connection: &mut Conn, now: Timestamp) -> Result<()> {
    let ms = now.unix_ms();
    // Half a millisecond more, because the server keeps it as a float and cuts.
    let set = format!("SET timestamp = {}.{:03}5", ms.div_euclid(1000), ms.rem_euclid(1000));
    connection.query_drop(set).await.map_err(fault::of_statement)
}

impl Tx<'_> {
    /// How long a statement with its values may be, in bytes, beside a row that is longer by itself.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Makes everything durable. After an error it is unknown whether the commit took place.
    pub(crate) async fn commit(self) -> Result<()> {
        match timeout(self.limit, self.inner.commit()).await {
            Ok(committed) => committed.map_err(fault::of_commit),
            Err(_) => Err(no_answer(self.limit)),
        }
    }

    /// Drops everything. If even that fails, the connection is gone, and the transaction with it.
    pub(crate) async fn roll_back(self) {
        if self.is_lost {
            return;
        }
        match timeout(self.limit, self.inner.rollback()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => log::debug!("the transaction ended with its connection: {e}"),
            Err(_) => log::debug!("the transaction ends with its connection: no answer"),
        }
    }

    fn answered<T>(&mut self, answer: std::result::Result<mysql_async::Result<T>, Elapsed>) -> Result<T> {
        match answer {
            Ok(answer) => answer.map_err(fault::of_statement),
            Err(_) => {
                self.is_lost = true;
                Err(no_answer(self.limit))
            }
        }
    }

    /// All rows of a query.
    pub(crate) async fn rows(&mut self, query: &str, values: impl Into<Params> + Send) -> Result<Vec<Row>> {
        let answer = timeout(self.limit, self.inner.exec(query, values)).await;
        self.answered(answer)
    }

    /// The first row of a query.
    pub(crate) async fn first(&mut self, query: &str, values: impl Into<Params> + Send) -> Result<Option<Row>> {
        let answer = timeout(self.limit, self.inner.exec_first(query, values)).await;
        self.answered(answer)
    }

    /// Runs a statement; answers how many rows it matched.
    pub(crate) async fn change(&mut self, statement: &str, values: impl Into<Params> + Send) -> Result<u64> {
        let answer = timeout(self.limit, self.inner.exec_drop(statement, values)).await;
        self.answered(answer)?;
        Ok(self.inner.affected_rows())
    }

    /// Inserts rows; false if one of them stands there already.
    pub(crate) async fn insert(&mut self, statement: &str, values: impl Into<Params> + Send) -> Result<bool> {
        match timeout(self.limit, self.inner.exec_drop(statement, values)).await {
            Ok(Err(e)) if fault::is_duplicate(&e) => Ok(false),
            answer => self.answered(answer).map(|()| true),
        }
    }

    /// The moment that this connection's statements see.
    pub(crate) async fn now(&mut self) -> Result<Timestamp> {
        let row = self.first("SELECT UTC_TIMESTAMP(3) AS now", ()).await?;
        row.map_or_else(|| Err(Error::broken("the server told no time".to_owned())), |row| value::moment(&row, "now"))
    }
}

#[cfg(test)]
impl Database {
    /// A database with a current schema whose server ends a connection that says nothing for so long.
    pub(crate) fn of_short_silence(server: &Server, schema: &'static Schema, silence_secs: u64) -> Self {
        let options = session::options(server, CONNECTIONS_MAX, Some(&server.database));
        let database = Self::with(options.setup(session::setup(silence_secs)), server, schema, Clock::System);
        // Nothing is asked of the session, which is not as it must be.
        Self { facts: OnceCell::new_with(Some(Facts { packet_bytes: 1 << 20 })), ..database }
    }

    /// A database with a current schema on a server that takes so little. Longer statements than it should get fail.
    pub(crate) fn of_small_packets(server: &Server, schema: &'static Schema, packet_bytes: usize) -> Self {
        let options = session::options(server, CONNECTIONS_MAX, Some(&server.database));
        let options = options.max_allowed_packet(Some(packet_bytes / PACKET_PARTS));
        let database = Self::with(options, server, schema, Clock::System);
        Self { facts: OnceCell::new_with(Some(Facts { packet_bytes })), ..database }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestDatabase, on_every_server};
    use super::*;
    use crate::base::db::migration::THINGS;

    /// A row may be longer than what any server of the tests takes.
    static LONG_ROWS: Schema = Schema { name: "long rows", row_bytes_max: 1 << 30, sqlite: &[], mysql: THINGS.mysql };
    /// A row may be as long as every server of the tests takes.
    static ROWS: Schema = Schema { name: "rows", row_bytes_max: 4 << 20, sqlite: &[], mysql: THINGS.mysql };

    on_every_server! {
        a_server_that_would_not_take_a_row_is_named_with_what_to_set
    }

    async fn a_server_that_would_not_take_a_row_is_named_with_what_to_set(variable: &str) {
        let place = TestDatabase::made(variable, "long_rows", &THINGS).await;
        let database = Database::new(&place.server, &LONG_ROWS, Clock::System);
        let error = database.connection().await.unwrap_err().to_string();
        let what_to_set = "SET GLOBAL max_allowed_packet = 2147483648";
        assert!(error.contains(&place.server.database) && error.contains(what_to_set), "{error}");
        let database = Database::new(&place.server, &ROWS, Clock::System);
        drop(database.connection().await.unwrap());
        database.close().await;
        place.drop().await;
    }
}
