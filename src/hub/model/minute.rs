//! What the events of one minute add up to, by the time at which they happened.

use super::amount::{Amount, Total};
use super::event::EventType;
use crate::base::timestamp::Timestamp;

/// Milliseconds of a minute.
const MINUTE_MS: i64 = 60_000;

/// The events of one type that happened in one minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minute {
    /// Its begin.
    pub begin: Timestamp,
    /// The type.
    pub event_type: EventType,
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: Total,
    /// The smallest amount.
    pub min: Amount,
    /// The largest amount.
    pub max: Amount,
}

impl Minute {
    /// The begin of the minute in which this moment is.
    pub fn begin_of(at: Timestamp) -> Timestamp {
        Timestamp::from_unix_ms(at.unix_ms().div_euclid(MINUTE_MS) * MINUTE_MS)
    }

    /// The minute of one event.
    pub fn of(at: Timestamp, event_type: EventType, amount: Amount) -> Self {
        Self { begin: Self::begin_of(at), event_type, count: 1, sum: amount.into(), min: amount, max: amount }
    }

    /// Adds other events of the same minute and type. The order does not matter.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.plus(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_minute_begins_at_its_first_millisecond() {
        let begin = Timestamp::from_unix_ms(1_705_314_600_000);
        assert_eq!(Minute::begin_of(begin), begin);
        assert_eq!(Minute::begin_of(begin.plus_ms(59_999)), begin);
        assert_eq!(Minute::begin_of(begin.plus_ms(-1)), begin.plus_ms(-60_000));
    }

    proptest! {
        #[test]
        fn any_order_adds_up_to_the_same(mut units in proptest::collection::vec(0_i64..1_000_000, 2..40), cut in 1_usize..39) {
            let at = Timestamp::from_unix_ms(0);
            let one = |units: i64| Minute::of(at, EventType::new("refund").unwrap(), Amount::from_units(units).unwrap());
            let fold = |units: &[i64]| {
                let mut sum = one(units[0]);
                units[1..].iter().for_each(|units| sum.add(&one(*units)));
                sum
            };
            let all = fold(&units);
            prop_assert_eq!(all.sum.units(), units.iter().map(|units| u128::try_from(*units).unwrap()).sum::<u128>());
            prop_assert_eq!(Some(all.min.units()), units.iter().min().copied());
            let cut = cut.min(units.len() - 1);
            units.reverse();
            let (mut left, right) = (fold(&units[..cut]), fold(&units[cut..]));
            left.add(&right);
            prop_assert_eq!(left, all);
        }
    }
}
