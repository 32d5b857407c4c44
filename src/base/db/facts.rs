//! What a database server says of itself, for people who look for a cause.

use std::collections::BTreeMap;

use super::{Result, StoreUrl};
use crate::base::timestamp::Timestamp;

/// The longest row of a kind of database, beside which a statement needs some room: a return's line.
const LONG_ROW_BYTES: u64 = 4 << 20;
/// The least that every server must take in one packet, in bytes.
const PACKET_BYTES_MIN: u64 = 64 << 10;

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
        StoreUrl::Mysql(server) => crate::base::db::mysql::facts::facts(server).await.map(Some),
    }
}

/// Bytes that a server must take at once, where returns are kept or not.
pub fn packet_bytes_min(keeps_returns: bool) -> u64 {
    if keeps_returns { LONG_ROW_BYTES + PACKET_BYTES_MIN } else { PACKET_BYTES_MIN }
}
