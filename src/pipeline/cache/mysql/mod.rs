//! The order directory and the early returns on a server (MySQL, MariaDB). Every transaction locks rows of the
//! directory first, in the order of their ids, and returns second, in the order of their names. So no two transactions
//! wait for each other in a circle.

mod read;
mod take;
mod write;

use async_trait::async_trait;

use crate::base::clock::Clock;
use crate::base::db::Result;
use crate::base::db::mysql::database::Database;
use crate::base::db::url::Server;
use crate::pipeline::cache::store::{CachePolicy, CacheStore, Forgotten, Take};
use crate::pipeline::schemas::CACHE;
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::ENTRIES_MAX;
use crate::pipeline::trade::{Backlog, EarlyReturn, Held, NewOrder, Order, OrderId, PutOutcome, Recorded, Taken};

/// [`CacheStore`] in a database of a server.
pub(crate) struct MysqlCache {
    database: Database,
    policy: CachePolicy,
}

impl MysqlCache {
    /// The database at this place; it is not asked anything yet.
    pub(crate) fn new(server: &Server, clock: Clock, policy: CachePolicy) -> Self {
        Self { database: Database::new(server, &CACHE, clock), policy }
    }
}

#[async_trait]
impl CacheStore for MysqlCache {
    async fn ping(&self) -> Result<()> {
        self.database.ping("UPDATE order_directory SET order_id = order_id WHERE order_id = 0").await
    }

    async fn record_orders(&self, by: &TaskKey, orders: &[NewOrder]) -> Result<Vec<Recorded>> {
        Ok(self.database.write(&write::Record { by, orders, is_taking: false }).await?.0)
    }

    async fn record_and_take(&self, by: &TaskKey, orders: &[NewOrder]) -> Result<(Vec<Recorded>, Vec<Taken>)> {
        self.database.write(&write::Record { by, orders, is_taking: true }).await
    }

    async fn look_up(&self, orders: &[OrderId]) -> Result<Vec<Order>> {
        self.database.write(&read::LookUp(orders)).await
    }

    async fn list_orders(&self, after: Option<OrderId>, limit: u32) -> Result<Vec<Order>> {
        self.database.read(&read::ListOrders { after, limit }).await
    }

    async fn put(&self, by: &TaskKey, returns: &[EarlyReturn]) -> Result<Vec<PutOutcome>> {
        self.database.write(&write::Put { by, returns, policy: self.policy }).await
    }

    async fn take(&self, by: &TaskKey, what: Take<'_>, limit: u32) -> Result<Vec<Taken>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(ENTRIES_MAX);
        match what {
            Take::Orders(orders) => self.database.write(&take::OfOrders { by, orders, new: orders, limit }).await,
            Take::Shard | Take::Expired(_) => {
                self.database.write(&take::Once { by, what, limit, policy: self.policy }).await
            }
        }
    }

    async fn confirm(&self, by: &TaskKey) -> Result<u64> {
        self.database.write(&take::Confirm(by)).await
    }

    async fn list_held(&self, order: OrderId, limit: u32) -> Result<Vec<Held>> {
        self.database.write(&read::ListHeld { order, limit }).await
    }

    async fn list_pending(&self, after: Option<(FileName, u64)>, limit: u32) -> Result<Vec<Held>> {
        self.database.read(&read::ListPending { after, limit }).await
    }

    async fn backlog(&self) -> Result<Backlog> {
        self.database.read(&read::LookAtBacklog).await
    }

    async fn forget(&self, limit: u32) -> Result<Forgotten> {
        self.database.write(&take::Forget { retention_ms: self.policy.retention_ms, limit }).await
    }

    async fn close(&self) {
        self.database.close().await;
    }
}
