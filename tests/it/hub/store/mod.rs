//! The suite of the hub's store: written against the trait, run on every backend.

mod events;
mod minutes;
mod relay;

use std::sync::Arc;

use shopctl::base::clock::Clock;
use shopctl::base::timestamp::Timestamp;
use shopctl::hub::store::HubStore;
use shopctl::hub::store::sqlite::SqliteHub;
use tempfile::TempDir;

use super::START_MS;

/// A backend with a fresh place for one test.
#[async_trait::async_trait]
trait Ground: Send + Sync {
    /// Opens the store, as another process would.
    async fn open(&self) -> Arc<dyn HubStore>;

    /// The clock of the leases.
    fn clock(&self) -> &Clock;
}

struct Sqlite {
    folder: TempDir,
    clock: Clock,
}

impl Sqlite {
    async fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Clock::manual(Timestamp::from_unix_ms(START_MS)) }
    }
}

#[async_trait::async_trait]
impl Ground for Sqlite {
    async fn open(&self) -> Arc<dyn HubStore> {
        let path = self.folder.path().join("hub_db.sqlite");
        Arc::new(SqliteHub::open(&path, self.clock.clone()).await.unwrap())
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// All tests of the suite on one backend.
macro_rules! on_every_store {
    ($($store:ident: $ground:expr;)+) => {$(
        mod $store {
            use super::*;

            crate::support::cases::cases!($ground;
                events::{
                    an_event_comes_back_as_it_was,
                    a_key_that_comes_again_is_a_duplicate_or_reused,
                    keys_of_other_callers_are_other_keys,
                    a_key_is_forgotten_in_time,
                    two_that_use_a_key_at_once_keep_one_event,
                    pages_are_complete_in_both_directions,
                    old_events_that_nothing_waits_for_are_deleted,
                }
                relay::{
                    new_events_come_in_the_order_in_which_they_were_taken,
                    shards_are_shared_and_taken_over,
                    a_mark_under_an_old_lease_counts_nothing,
                    what_is_published_again_is_new_again,
                    who_waits_is_told_of_new_events,
                }
                minutes::{
                    an_event_is_counted_once_for_ever,
                    minutes_are_the_same_in_any_order,
                    two_that_count_the_same_at_once_count_it_once,
                }
            );
        }
    )+};
}

on_every_store! {
    on_sqlite: Sqlite::new();
}
