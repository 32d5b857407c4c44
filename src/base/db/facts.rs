//! What a database server says of itself, for people who look for a cause.

use std::collections::BTreeMap;

use super::{Result, StoreUrl};
use crate::base::timestamp::Timestamp;

/// A server's own words.
#[derive(Debug, Clone)]
pub struct ServerFacts {
    /// Its version.
    pub version: String,
    /// Its clock.
    pub now: Timestamp,
    /// Its global variables, as far as they matter here.
    pub variables: BTreeMap<String, String>,
}

/// Asks the server of a database; nothing for an embedded one.
///
/// # Errors
/// [`Error`](super::Error) when it does not answer.
pub async fn server_facts(url: &StoreUrl) -> Result<Option<ServerFacts>> {
    match url {
        StoreUrl::Sqlite(_) => Ok(None),
        #[cfg(feature = "mysql")]
        StoreUrl::Mysql(server) => crate::base::db::mysql::facts::facts(server).await.map(Some),
        #[cfg(not(feature = "mysql"))]
        StoreUrl::Mysql(_) => super::without_mysql(),
    }
}
