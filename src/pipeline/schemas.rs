//! The schemas of the pipeline's databases, one for each folder in `db/migrations`.

use crate::base::db::Schema;
use crate::base::db::migration::schema;
use crate::pipeline::trade::early::RAW_BYTES_MAX;

/// The tracking database.
pub static TRACKING: Schema = schema!("tracking", 0, "0001_tracking", "0002_askers");
/// A shard's database.
pub static SHARD: Schema = schema!("shard", 0, "0001_shard", "0002_books", "0003_row_digests");
/// The balance database.
pub static BALANCE: Schema = schema!("balance", 0, "0001_balance");
/// The order directory and the early returns, whose lines may be long.
pub static CACHE: Schema = schema!("cache", RAW_BYTES_MAX, "0001_cache");
/// A worker's state.
pub static WORKER: Schema = schema!(embedded "worker", "0001_worker", "0002_trade");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::db::sqlite::migrate::{run, version};

    #[test]
    fn every_schema_can_be_made_and_made_again() {
        for schema in [&TRACKING, &SHARD, &BALANCE, &CACHE, &WORKER] {
            let mut own = rusqlite::Connection::open_in_memory().unwrap();
            run(&mut own, schema).unwrap();
            run(&mut own, schema).unwrap();
            assert_eq!(version(&own).unwrap(), schema.known());
        }
    }
}
