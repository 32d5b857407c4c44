//! The bodies of the APIs of balance-daemon ([`balance`]) and cache-service ([`cache`]) (docs/contracts.md, 5): what is
//! around the types of [`trade`](super). The order of the fields is the order in the JSON.

pub mod balance;
pub mod cache;
mod flat;
