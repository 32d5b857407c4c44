//! What an event is: its types, its line, money, moments, the shard rule. Pure: no I/O but `Read`, no clock.
//!
//! Reading order: [`mod@line`] cuts bytes into lines, [`raw`] reads one line as JSON, [`shard`] says where it goes,
//! [`shape`] turns it into a typed [`Event`] or says what is wrong, [`facts`] stores that beside the line, [`reject`]
//! writes down what was refused, and [`detail`] makes complaints alike that differ in numbers only.

pub mod detail;
pub mod facts;
pub mod line;
pub mod money;
pub mod raw;
pub mod reject;
pub mod shape;
pub mod shard;

pub use line::{LineReader, Next};
pub use money::Money;
pub use reject::{Reason, Reasons, Reject};
pub use shape::{Event, Payload};
pub use shard::{ShardCount, ShardId};

/// The five kinds of event, numbered as in the line's `event_type` (docs/contracts.md, 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Stock goes up or down.
    Restock = 0,
    /// A sale.
    Purchase = 1,
    /// A new price of a good in a shop.
    PriceChange = 2,
    /// Goods come back for an earlier purchase.
    Return = 3,
    /// A shop opens or closes.
    ShopStatus = 4,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Restock, Self::Purchase, Self::PriceChange, Self::Return, Self::ShopStatus];

    /// The kind with this `event_type`, if there is one.
    pub fn from_number(number: i64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|index| Self::ALL.get(index).copied())
    }

    /// The `event_type` of this kind.
    pub fn number(self) -> u8 {
        self as u8
    }
}
