//! What the services of trade say of an order: money that moved for it, returns that wait for it. If a service
//! does not answer, [`ServiceAnswer`] says why.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::pipeline::balance::client::BalanceClient;
use crate::pipeline::cache::client::CacheClient;
use crate::pipeline::calls::ClientError;
use crate::pipeline::ops::dead_letters::LineAt;
use crate::pipeline::trade::{OperationKind, OrderId, UserId};

/// Pages of a user's transactions that are looked through, of 1000 each.
const PAGES_MAX: usize = 50;

/// What a service said, or why it said nothing.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceAnswer<T> {
    /// Its answer.
    Answer(T),
    /// It was not asked, or did not answer.
    NotAnswered(String),
}

/// Money that moved for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Whose.
    pub user_id: i64,
    /// Which way.
    pub r#type: OperationKind,
    /// How much.
    pub amount: String,
    /// The key of the operation.
    pub key: String,
    /// When.
    pub at: String,
}

/// The money of an order.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MovedMoney {
    /// What moved, by user, the newest first.
    pub moved: Vec<Moved>,
    /// Users with more transactions than were looked through.
    pub cut_short: Vec<i64>,
}

/// A return that the cache-service keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Where its line stood.
    pub line: LineAt,
    /// `waiting`, `released` or `expired`.
    pub state: String,
    /// When it was handed in.
    pub held_at: String,
    /// The file of the task that took it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_with: Option<String>,
}

/// Whether an operation with this key is about the order.
fn is_of(key: &str, order: i64) -> bool {
    let order = order.to_string();
    ["purchase:", "reversal:", "return:"]
        .iter()
        .filter_map(|kind| key.strip_prefix(kind))
        .any(|rest| rest.strip_prefix(order.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
}

/// The transactions of these users that are about the order.
pub fn money(client: &BalanceClient, order: i64, users: &BTreeSet<i64>) -> ServiceAnswer<MovedMoney> {
    match moved(client, order, users) {
        Ok(money) => ServiceAnswer::Answer(money),
        Err(e) => ServiceAnswer::NotAnswered(e.to_string()),
    }
}

fn moved(client: &BalanceClient, order: i64, users: &BTreeSet<i64>) -> Result<MovedMoney, ClientError> {
    let mut money = MovedMoney::default();
    for user in users {
        let Some(id) = UserId::new(*user) else { continue };
        let (mut cursor, mut pages) = (None, 0);
        while let Some(page) = client.transactions(id, cursor)? {
            let own = page.items.into_iter().filter(|item| is_of(&item.key, order));
            money.moved.extend(own.map(|item| Moved {
                user_id: *user,
                r#type: item.kind,
                amount: item.amount.to_string(),
                key: item.key,
                at: item.created_at.to_string(),
            }));
            cursor = page.next_cursor;
            pages += 1;
            if cursor.is_none() {
                break;
            }
            if pages == PAGES_MAX {
                money.cut_short.push(*user);
                break;
            }
        }
    }
    Ok(money)
}

/// The returns that are kept for the order.
pub fn kept(client: &CacheClient, order: i64) -> ServiceAnswer<Vec<Kept>> {
    let Some(id) = OrderId::new(order) else {
        return ServiceAnswer::Answer(Vec::new());
    };
    match client.list_held(id) {
        Ok(held) => ServiceAnswer::Answer(
            held.items
                .into_iter()
                .map(|held| Kept {
                    state: held.state.name().to_owned(),
                    held_at: held.held_at.to_string(),
                    taken_with: held.taken_by().map(|by| by.file.to_string()),
                    line: LineAt { file: held.file, line: held.line },
                })
                .collect(),
        ),
        Err(e) => ServiceAnswer::NotAnswered(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_orders_are_not_of_this_one() {
        for key in
            ["purchase:47:3", "purchase:47", "reversal:47:-1", "return:47:2025-01-01 00:00:00.000:20250101000000:3"]
        {
            assert!(is_of(key, 47), "{key}");
        }
        for key in ["purchase:470:3", "purchase:4", "credit:47", "goodwill-47", "return:147:x", "purchase:"] {
            assert!(!is_of(key, 47), "{key}");
        }
    }
}
