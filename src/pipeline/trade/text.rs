//! How moments and amounts stand in bodies: as the texts that people read too.

/// A moment, `YYYY-MM-DD HH:MM:SS.mmm`.
pub(super) mod moment {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::base::timestamp::Timestamp;

    pub(crate) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text).ok_or_else(|| D::Error::custom("a moment is expected, like 2025-01-01 00:00:00.000"))
    }
}

/// A moment that may not have come.
pub(super) mod optional_moment {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::moment;
    use crate::base::timestamp::Timestamp;

    #[derive(Serialize, Deserialize)]
    struct Moment(#[serde(with = "moment")] Timestamp);

    pub(crate) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(Moment).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<Moment>::deserialize(deserializer)?.map(|Moment(at)| at))
    }
}

/// An amount with two decimals, below zero too.
pub(super) mod money {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::pipeline::event::Money;

    pub(crate) fn serialize<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(money)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        Money::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
