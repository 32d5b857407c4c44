//! The accounts with an observer of its calls. Every method of the trait stands here once, also those that have a default: a
//! method that is added to the trait is added here.

use std::sync::Arc;

use super::store::BalanceStore;
use crate::pipeline::timed::{Observer, Timed, timed};
use crate::pipeline::trade::{Account, Answer, Booked, Operation, Statement, Totals, UserId};

/// The accounts with an observer.
pub(super) fn balance(inner: Arc<dyn BalanceStore>, observer: Observer) -> Arc<dyn BalanceStore> {
    Arc::new(Timed::new("balance", inner, observer))
}

timed! {
    BalanceStore {}
    fn ping(&self) -> ();
    fn apply(&self, operations: &[Operation]) -> Vec<Answer>;
    fn find_account(&self, user: UserId) -> Option<Account>;
    fn statement(&self, user: UserId, before: Option<u64>, limit: u32) -> Statement;
    fn list_booked(&self, after: Option<UserId>, limit: u32) -> Vec<Booked>;
    fn totals(&self) -> Totals;
    fn net_under(&self, prefix: &str) -> i128;
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::base::clock::Clock;
    use crate::base::db::StoreUrl;
    use crate::pipeline::balance::open::open_balance;
    use crate::pipeline::event::Money;
    use crate::pipeline::timed::Timing;

    #[tokio::test]
    async fn every_call_is_told_with_its_name_and_whether_it_succeeded() {
        let folder = tempfile::tempdir().unwrap();
        let url = StoreUrl::Sqlite(folder.path().join("balance.sqlite"));
        let store = open_balance(&url, Clock::System, Money::from_minor(0)).await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&told);
        let observer = move |timing: Timing| seen.lock().unwrap().push((timing.store, timing.operation, timing.is_ok));
        let store = balance(store, Arc::new(observer));
        store.ping().await.unwrap();
        store.totals().await.unwrap();
        store.apply(&[]).await.unwrap();
        rusqlite::Connection::open(folder.path().join("balance.sqlite"))
            .unwrap()
            .execute_batch("DROP TABLE user")
            .unwrap();
        assert!(store.totals().await.is_err());
        let expected = [("ping", true), ("totals", true), ("apply", true), ("totals", false)];
        assert_eq!(*told.lock().unwrap(), expected.map(|(operation, is_ok)| ("balance", operation, is_ok)));
    }
}
