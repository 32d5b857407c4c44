//! Double entry: the balance of every account is its opening and the sum of its transactions, and is never negative.
//!
//! The balance-daemon writes a balance and its transaction together, so this can be checked while roles run.

use serde::Serialize;

use super::state::{PAGE, paid_for};
use crate::base::boot::Failure;
use crate::base::db::{Schema, StoreUrl, schema_state};
use crate::pipeline::balance::open::open_balance;
use crate::pipeline::balance::store::BalanceStore;
use crate::pipeline::event::ShardId;
use crate::pipeline::ops::audit::Findings;
use crate::pipeline::rules::money::{PURCHASE, REVERSAL};
use crate::pipeline::schemas;
use crate::pipeline::settings::Context;
use crate::pipeline::shard_db::ShardStore;

/// What to do if an account does not add up.
const NEXT: &str = "a row of user or account_transaction was changed by hand: put it back from a backup";

/// The sums over all accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// Number of accounts.
    pub accounts: u64,
    /// Number of transactions.
    pub transactions: u64,
    /// Sum of all balances, with two decimals.
    pub balances: String,
    /// Number of differences found.
    pub differences: u64,
    /// Why the accounts were not added up, if they were not.
    pub note: Option<String>,
}

/// The accounts, and what is wrong with them.
pub(crate) struct CheckedMoney {
    pub(crate) accounts: Accounts,
    pub(crate) found: Findings,
    /// How the money taken for purchases differs from the price of the accepted orders. It is a difference only if no
    /// task made progress while both were read.
    pub(crate) unpaired: Option<String>,
}

impl CheckedMoney {
    /// Notes a difference.
    pub(crate) fn differ(&mut self, what: String) {
        self.found.differ(what);
        self.accounts.differences = self.found.differences;
    }
}

/// Adds up the accounts.
///
/// `moved` is a shard with an order that a user paid for. `paid` is what users paid for all orders in the books, in minor
/// units; `None` if that is not known, or if a purchase may be paid whose order is not in the books yet.
pub(crate) async fn check(ctx: &Context, moved: Option<ShardId>, paid: Option<i128>) -> Result<CheckedMoney, Failure> {
    let url = &ctx.settings.database.balance;
    if !is_used(url, &schemas::BALANCE).await? {
        let mut found = Findings::nothing("not used");
        if let Some(shard) = moved {
            found.differ(format!(
                "orders of shard {shard} were paid for, but there is no balance database at {url}; is database.balance right?"
            ));
        }
        let (differences, note) = (found.differences, found.note.clone());
        let accounts = Accounts { differences, note, ..Accounts::default() };
        return Ok(CheckedMoney { accounts, found, unpaired: None });
    }
    let store = open_balance(url, ctx.clock.clone(), ctx.settings.balance.opening).await?;
    let checked = compare(store.as_ref(), paid).await;
    store.close().await;
    Ok(checked?)
}

async fn compare(store: &dyn BalanceStore, paid: Option<i128>) -> crate::base::db::Result<CheckedMoney> {
    let mut checked = add_up(store).await?;
    if let Some(paid) = paid {
        checked.unpaired = find_unpaired(store, paid).await?;
    }
    Ok(checked)
}

/// Compares the money taken for purchases, less what was given back, with `paid`, the price of the accepted orders.
async fn find_unpaired(store: &dyn BalanceStore, paid: i128) -> crate::base::db::Result<Option<String>> {
    let taken = store.net_under(PURCHASE).await? + store.net_under(REVERSAL).await?;
    let (taken_text, paid_text) = (amount(taken), amount(paid));
    Ok((taken != paid).then(|| {
        format!(
            "{taken_text} was taken from the accounts for purchases and not given back, but the orders of users come to \
             {paid_text}: a purchase was paid and not made, or the other way round; see docs/runbook.md#audit-difference"
        )
    }))
}

/// Whether there is such a database with its tables.
pub(crate) async fn is_used(url: &StoreUrl, schema: &'static Schema) -> crate::base::db::Result<bool> {
    Ok(schema_state(url, schema).await?.is_some_and(|state| state.applied > 0))
}

/// Whether the books have an order that a user paid for.
pub(crate) async fn was_moved(books: &dyn ShardStore) -> crate::base::db::Result<bool> {
    let mut after = None;
    loop {
        let page = books.list_orders(after, PAGE).await?;
        if page.iter().any(|order| paid_for(*order) > 0) {
            return Ok(true);
        }
        match page.last() {
            Some(last) => after = Some(last.order_id),
            None => return Ok(false),
        }
    }
}

async fn add_up(store: &dyn BalanceStore) -> crate::base::db::Result<CheckedMoney> {
    let totals = store.totals().await?;
    let mut found = Findings { compared: totals.users, ..Findings::default() };
    if totals.unbalanced > 0 || totals.negative > 0 {
        name_accounts(store, &mut found).await?;
    }
    let (opening, moved) = (totals.opening, totals.credits - totals.debits);
    if found.differences == 0 && totals.balance != opening + moved {
        found.differ(format!(
            "all accounts have {}, but their openings and all transactions make {}: there are transactions of users without an account; {NEXT}",
            amount(totals.balance),
            amount(opening + moved)
        ));
    }
    let accounts = Accounts {
        accounts: totals.users,
        transactions: totals.transactions,
        balances: amount(totals.balance),
        differences: found.differences,
        note: None,
    };
    Ok(CheckedMoney { accounts, found, unpaired: None })
}

async fn name_accounts(store: &dyn BalanceStore, found: &mut Findings) -> crate::base::db::Result<()> {
    let mut after = None;
    loop {
        let page = store.list_booked(after, PAGE).await?;
        for booked in &page {
            let (user, balance) = (booked.user, amount(booked.balance));
            if !booked.is_balanced() {
                found.differ(format!(
                    "user {user} has {balance}, but the opening {} and {} transactions make {}; {NEXT}",
                    amount(booked.opening),
                    booked.transactions,
                    amount(booked.opening + booked.net)
                ));
            } else if booked.balance < 0 {
                found.differ(format!("user {user} has {balance}, less than nothing; {NEXT}"));
            }
        }
        match page.last() {
            Some(last) => after = Some(last.user),
            None => return Ok(()),
        }
    }
}

/// Minor units as an amount with two decimals. A sum may be larger than the largest balance.
fn amount(minor: i128) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{sign}{}.{:02}", minor / 100, minor % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_shown_with_both_decimals() {
        for (minor, text) in [(0, "0.00"), (-5, "-0.05"), (1_999_999_999_999_999_999_999, "19999999999999999999.99")] {
            assert_eq!(amount(minor), text);
        }
    }
}
