//! Opens the database of the order directory and the early returns: the one place that knows its engines.

use std::sync::Arc;

#[cfg(feature = "mysql")]
use super::mysql::MysqlCache;
use super::sqlite::SqliteCache;
use super::store::{CachePolicy, CacheStore};
use crate::base::clock::Clock;
use crate::base::db::{Result, StoreUrl};

/// Opens the database of the order directory and the early returns, as
/// [`open_tracking`](crate::pipeline::apid::open::open_tracking) does.
///
/// # Errors
/// When an embedded database cannot be opened.
pub async fn open_cache(url: &StoreUrl, clock: Clock, policy: CachePolicy) -> Result<Arc<dyn CacheStore>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(SqliteCache::open(path, clock, policy).await?)),
        #[cfg(feature = "mysql")]
        StoreUrl::Mysql(server) => Ok(Arc::new(MysqlCache::new(server, clock, policy))),
        #[cfg(not(feature = "mysql"))]
        StoreUrl::Mysql(_) => crate::base::db::without_mysql(),
    }
}
