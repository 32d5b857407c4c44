//! Opens the tracking database: the one place that knows its engines.

use std::sync::Arc;

#[cfg(feature = "mysql")]
use super::mysql::MysqlTracking;
use super::sqlite::SqliteTracking;
use super::store::{Tracking, TrackingPolicy};
use crate::base::clock::Clock;
use crate::base::db::{Result, StoreUrl};

/// Opens the tracking database. An embedded one is created and migrated where needed; one on a server is asked nothing
/// before it is used, and migrated then.
///
/// # Errors
/// When an embedded database cannot be opened.
pub async fn open_tracking(url: &StoreUrl, clock: Clock, policy: TrackingPolicy) -> Result<Arc<dyn Tracking>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(SqliteTracking::open(path, clock, policy).await?)),
        #[cfg(feature = "mysql")]
        StoreUrl::Mysql(server) => Ok(Arc::new(MysqlTracking::new(server, clock, policy))),
        #[cfg(not(feature = "mysql"))]
        StoreUrl::Mysql(_) => crate::base::db::without_mysql(),
    }
}

/// Opens the tracking database for looking at it: an embedded one is neither created, migrated nor changed, so that it may
/// be locked by others.
///
/// # Errors
/// As for [`open_tracking`].
pub(crate) async fn open_tracking_read_only(
    url: &StoreUrl,
    clock: Clock,
    policy: TrackingPolicy,
) -> Result<Arc<dyn Tracking>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(SqliteTracking::look(path, clock, policy).await?)),
        StoreUrl::Mysql(_) => open_tracking(url, clock, policy).await,
    }
}
