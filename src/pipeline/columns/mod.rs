//! What the columns of all stores have in common: file names, shards, statuses, money.

#[cfg(feature = "mysql")]
pub(crate) mod mysql;
pub(crate) mod sqlite;
