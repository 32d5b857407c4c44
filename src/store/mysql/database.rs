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

use super::migrate;
use super::session::{self, Facts};
use super::{fault, value};
use crate::clock::Clock;
use crate::event::Moment;
use crate::store::migration::Schema;
use crate::store::url::Server;
use crate::store::{Error, Result};

/// Connections of one process to one database, at the most. They are opened as they are needed.
const CONNECTIONS_MAX: usize = 8;
/// How long a connection may take to come about, waiting for a free one included.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(15);
/// How long a transaction of a few statements may take: a server that accepts and never answers is as good as gone.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How often a transaction is run that loses races (semantics 5).
const TRIES: u32 = 8;

/// What is done in one transaction. It may be run several times: nothing of a run that failed is left.
#[async_trait]
pub(super) trait Work: Send + Sync {
    /// What it finds out.
    type Out: Send;

    /// Does it.
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Out>;
}

/// A database on a server.
pub(super) struct Database {
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
pub(super) struct Tx<'c> {
    inner: Transaction<'c>,
    limit: Duration,
    is_lost: bool,
}

impl Database {
    /// The database at this place; it is not asked anything yet.
    pub(super) fn new(server: &Server, schema: &'static Schema, clock: Clock) -> Self {
        Self::with(session::options(server, CONNECTIONS_MAX, Some(&server.database)), server, schema, clock)
    }

    fn with(options: OptsBuilder, server: &Server, schema: &'static Schema, clock: Clock) -> Self {
        let (pool, place) = (Pool::new(options), server.to_string());
        Self { pool, place, schema, clock, timeout: server.timeout, facts: OnceCell::new() }
    }

    /// Runs `work` in a transaction and commits it; again, if it lost a race or its connection. Every work must bear
    /// being run after a commit whose answer was lost.
    pub(super) async fn write<W: Work>(&self, work: &W) -> Result<W::Out> {
        self.tries(work, &TxOpts::default()).await
    }

    /// Runs `work` on the state of one moment.
    pub(super) async fn read<W: Work>(&self, work: &W) -> Result<W::Out> {
        let mut options = TxOpts::default();
        options.with_consistent_snapshot(true).with_isolation_level(IsolationLevel::RepeatableRead);
        self.tries(work, &options).await
    }

    async fn tries<W: Work>(&self, work: &W, options: &TxOpts) -> Result<W::Out> {
        let mut tries = 1;
        loop {
            let mut connection = self.connection().await?;
            let limit = self.limit(ANSWER_MAX);
            let run = timeout(limit, run_once(&mut connection, work, options, limit));
            let result = run.await.unwrap_or_else(|_| Err(no_answer(limit)));
            match result {
                Err(Error::Busy(why)) if tries < TRIES => {
                    log::debug!(place = self.place.as_str(), tries; "the transaction is run again: {why}");
                    let jitter = rand::random_range(5..25) * u64::from(tries);
                    tokio::time::sleep(Duration::from_millis(jitter)).await;
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    /// How long an answer may take where `usual` is what fits.
    pub(super) fn limit(&self, usual: Duration) -> Duration {
        self.timeout.unwrap_or(usual)
    }

    /// A connection whose session is checked and whose schema is up to date. Whatever is wrong here is no fault of one
    /// task: it is waited for.
    pub(super) async fn connection(&self) -> Result<Conn> {
        let limit = self.limit(CONNECT_MAX);
        let mut connection = match timeout(limit, self.pool.get_conn()).await {
            Ok(connected) => connected.map_err(|e| fault::of_connect(e, &self.place))?,
            Err(_) => return Err(Error::Unavailable(format!("{}: no connection within {limit:?}", self.place))),
        };
        let facts = self.facts.get_or_try_init(|| self.first_contact(&mut connection)).await;
        facts.map_err(|e| Error::Unavailable(e.to_string()))?;
        if let Some(now) = self.clock.pinned() {
            pin_time(&mut connection, now).await?;
        }
        Ok(connection)
    }

    async fn first_contact(&self, connection: &mut Conn) -> Result<Facts> {
        let checks = async {
            let facts = session::check(connection, &self.place).await?;
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

    /// What the server said of itself, once there was a connection.
    pub(super) fn facts(&self) -> Option<Facts> {
        self.facts.get().copied()
    }

    /// Says good-bye to the server. Nothing can be asked afterwards.
    pub(super) async fn close(&self) {
        match timeout(CONNECT_MAX, self.pool.clone().disconnect()).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => log::debug!(place = self.place.as_str(); "the connections were not closed: {e}"),
            Err(_) => log::debug!(place = self.place.as_str(); "the connections did not close in time"),
        }
    }
}

async fn run_once<W: Work>(connection: &mut Conn, work: &W, options: &TxOpts, limit: Duration) -> Result<W::Out> {
    let mut tx = Tx::begin(connection, options.clone(), limit).await?;
    match work.run(&mut tx).await {
        Ok(out) => tx.commit().await.map(|()| out),
        Err(error) => {
            tx.roll_back().await;
            Err(error)
        }
    }
}

/// What a server comes to that accepts and never answers.
pub(super) fn no_answer(waited: Duration) -> Error {
    Error::Unavailable(format!("the database gave no answer within {waited:?}"))
}

/// Tests move the clock: the server's own functions then tell that time on this connection.
async fn pin_time(connection: &mut Conn, now: Moment) -> Result<()> {
    let ms = now.unix_ms();
    // Half a millisecond more, because the server keeps it as a float and cuts.
    let set = format!("SET timestamp = {}.{:03}5", ms.div_euclid(1000), ms.rem_euclid(1000));
    connection.query_drop(set).await.map_err(fault::of_statement)
}

impl<'c> Tx<'c> {
    /// Begins a transaction whose statements may take so long each.
    pub(super) async fn begin(connection: &'c mut Conn, options: TxOpts, limit: Duration) -> Result<Self> {
        match timeout(limit, connection.start_transaction(options)).await {
            Ok(begun) => begun.map(|inner| Self { inner, limit, is_lost: false }).map_err(fault::of_statement),
            Err(_) => Err(no_answer(limit)),
        }
    }

    /// Makes everything durable. On an error nobody knows whether it is.
    pub(super) async fn commit(self) -> Result<()> {
        match timeout(self.limit, self.inner.commit()).await {
            Ok(committed) => committed.map_err(fault::of_commit),
            Err(_) => Err(no_answer(self.limit)),
        }
    }

    /// Drops everything. If even that fails, the connection is gone, and the transaction with it.
    pub(super) async fn roll_back(self) {
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
    pub(super) async fn rows(&mut self, query: &str, values: impl Into<Params> + Send) -> Result<Vec<Row>> {
        let answer = timeout(self.limit, self.inner.exec(query, values)).await;
        self.answered(answer)
    }

    /// The first row of a query.
    pub(super) async fn first(&mut self, query: &str, values: impl Into<Params> + Send) -> Result<Option<Row>> {
        let answer = timeout(self.limit, self.inner.exec_first(query, values)).await;
        self.answered(answer)
    }

    /// Runs a statement; answers how many rows it matched.
    pub(super) async fn change(&mut self, statement: &str, values: impl Into<Params> + Send) -> Result<u64> {
        let answer = timeout(self.limit, self.inner.exec_drop(statement, values)).await;
        self.answered(answer)?;
        Ok(self.inner.affected_rows())
    }

    /// Inserts rows; false if one of them stands there already.
    pub(super) async fn insert(&mut self, statement: &str, values: impl Into<Params> + Send) -> Result<bool> {
        match timeout(self.limit, self.inner.exec_drop(statement, values)).await {
            Ok(Err(e)) if fault::is_duplicate(&e) => Ok(false),
            answer => self.answered(answer).map(|()| true),
        }
    }

    /// The number that the last statement took through `LAST_INSERT_ID(..)`.
    pub(super) fn last_number(&self) -> Option<u64> {
        self.inner.last_insert_id()
    }

    /// The moment that this connection's statements see.
    pub(super) async fn now(&mut self) -> Result<Moment> {
        let row = self.first("SELECT UTC_TIMESTAMP(3) AS now", ()).await?;
        row.map_or_else(|| Err(Error::Broken("the server told no time".to_owned())), |row| value::moment(&row, "now"))
    }
}

#[cfg(test)]
impl Database {
    /// A database with a current schema whose server ends a connection that says nothing for so long.
    pub(super) fn of_short_silence(server: &Server, schema: &'static Schema, silence_secs: u64) -> Self {
        let options = session::options(server, CONNECTIONS_MAX, Some(&server.database));
        let database = Self::with(options.setup(session::setup(silence_secs)), server, schema, Clock::System);
        // Nothing is asked of the session, which is not as it must be.
        Self { facts: OnceCell::new_with(Some(Facts { packet_bytes: 1 << 20 })), ..database }
    }
}
