//! Where state lives: one trait per subject, one folder per database that implements them.
//!
//! To add a repository: 1. write its trait here, in plain types of [`crate::event`], [`crate::task`] and
//! [`crate::trade`]; 2. implement it in `sqlite/` (and every other backend) with its tables in `db/migrations/`; 3. add
//! its cases to the store suite in `tests/it/store/`, which runs on every backend.
//!
//! SQL and driver errors end here: callers see [`Error`] only.

mod balance;
mod books;
mod census;
mod embedded;
mod error;
mod facts;
mod lease_end;
mod migration;
mod mysql;
mod pending;
mod rows_digest;
mod shard;
mod shelf;
mod sql;
mod sqlite;
pub mod timed;
pub mod trace;
mod tracking;
mod url;
mod worker;

use std::sync::Arc;

pub use balance::BalanceStore;
pub use books::Entry;
pub use census::{Census, RowDigests, SentFile};
pub use embedded::{check_embedded, copy_embedded, is_embedded_in_use, known_schema};
pub use error::{Error, Result};
pub use facts::{ServerFacts, packet_bytes_min, server_facts};
pub use lease_end::LeaseEnd;
pub use migration::{SchemaKind, SchemaState, migrate, schema_state};
pub use pending::{Forgotten, PendingPolicy, PendingStore, Take};
pub use shard::{Delivered, Delivery, EventRow, RowSource, ShardStore};
pub use shelf::{BookedOrder, Bought, Dated, OrderOutcome, Shelf, WorkerLook};
pub use timed::{Observer, Timing};
pub use tracking::{
    FilePage, FileQuery, NewTasks, OpenTasks, Registered, Report, Tally, Tracking, TrackingPolicy, for_each_file,
};
pub use url::{Server, StoreUrl, Tls};
pub use worker::{FinishedFile, Remembered, Standing, TradeOrder, UNKNOWN_CONTENT, WorkerState};

use crate::clock::Clock;
use crate::event::Money;

/// Opens the tracking database. An embedded one is created and migrated where needed; one on a server is asked nothing
/// before it is used, and migrated then.
///
/// # Errors
/// [`Error`] when an embedded database cannot be opened.
pub async fn open_tracking(url: &StoreUrl, clock: Clock, policy: TrackingPolicy) -> Result<Arc<dyn Tracking>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteTracking::open(path, clock, policy).await?)),
        StoreUrl::Mysql(server) => Ok(Arc::new(mysql::MysqlTracking::new(server, clock, policy))),
    }
}

/// Opens the tracking database for looking at it: an embedded one is neither created, migrated nor changed, so that it may
/// be locked by others.
///
/// # Errors
/// As for [`open_tracking`].
pub async fn look_at_tracking(url: &StoreUrl, clock: Clock, policy: TrackingPolicy) -> Result<Arc<dyn Tracking>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteTracking::look(path, clock, policy).await?)),
        StoreUrl::Mysql(_) => open_tracking(url, clock, policy).await,
    }
}

/// Opens one shard's database, as [`open_tracking`] does.
///
/// # Errors
/// [`Error`] when an embedded database cannot be opened.
pub async fn open_shard(url: &StoreUrl, clock: Clock) -> Result<Arc<dyn ShardStore>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteShard::open(path, clock).await?)),
        StoreUrl::Mysql(server) => Ok(Arc::new(mysql::MysqlShard::new(server, clock))),
    }
}

/// Opens the balance database, as [`open_tracking`] does. Users who are new begin with `opening`.
///
/// # Errors
/// [`Error`] when an embedded database cannot be opened.
pub async fn open_balance(url: &StoreUrl, clock: Clock, opening: Money) -> Result<Arc<dyn BalanceStore>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteBalance::open(path, clock, opening).await?)),
        StoreUrl::Mysql(server) => Ok(Arc::new(mysql::MysqlBalance::new(server, clock, opening))),
    }
}

/// Opens the database of the order directory and the pending returns, as [`open_tracking`] does.
///
/// # Errors
/// [`Error`] when an embedded database cannot be opened.
pub async fn open_pending(url: &StoreUrl, clock: Clock, policy: PendingPolicy) -> Result<Arc<dyn PendingStore>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqlitePending::open(path, clock, policy).await?)),
        StoreUrl::Mysql(server) => Ok(Arc::new(mysql::MysqlPending::new(server, clock, policy))),
    }
}

/// Opens a worker's own state, creating and migrating it where needed. It is always embedded: it is asked once per line.
///
/// # Errors
/// [`Error`] when the database cannot be opened.
pub fn open_worker_state(path: &std::path::Path) -> Result<Box<dyn WorkerState>> {
    Ok(Box::new(sqlite::SqliteWorkerState::open(path)?))
}

/// Looks at a worker's state as it is now. It must be there.
///
/// # Errors
/// [`Error`] when the database cannot be opened.
pub async fn look_at_worker(path: &std::path::Path) -> Result<Arc<dyn WorkerLook>> {
    Ok(Arc::new(sqlite::SqliteWorkerLook::open(path).await?))
}
