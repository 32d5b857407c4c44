//! Opens the balance database: the one place that knows its engines.

use std::sync::Arc;

#[cfg(feature = "mysql")]
use super::mysql::MysqlBalance;
use super::sqlite::SqliteBalance;
use super::store::BalanceStore;
use crate::base::clock::Clock;
use crate::base::db::{Result, StoreUrl};
use crate::pipeline::event::Money;

/// Opens the balance database, as [`open_tracking`](crate::pipeline::apid::open::open_tracking)
/// does. Users who are new begin with `opening`.
///
/// # Errors
/// When an embedded database cannot be opened.
pub async fn open_balance(url: &StoreUrl, clock: Clock, opening: Money) -> Result<Arc<dyn BalanceStore>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(SqliteBalance::open(path, clock, opening).await?)),
        #[cfg(feature = "mysql")]
        StoreUrl::Mysql(server) => Ok(Arc::new(MysqlBalance::new(server, clock, opening))),
        #[cfg(not(feature = "mysql"))]
        StoreUrl::Mysql(_) => crate::base::db::without_mysql(),
    }
}
