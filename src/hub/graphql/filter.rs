//! Which events a client wants.

use async_graphql::{InputObject, Result};

use super::error::invalid;
use super::scalar::DateTime;
use crate::base::timestamp::Timestamp;
use crate::hub::model::{EventType, UserId};

/// Which events are wanted; all that is given must hold.
#[derive(Debug, Clone, Default, InputObject)]
pub(super) struct EventFilter {
    /// Of this user only.
    user_id: Option<String>,
    /// Of this type only.
    event_type: Option<String>,
    /// That happened at this moment or later.
    from: Option<DateTime>,
    /// That happened before this moment.
    to: Option<DateTime>,
}

/// The same, checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) user_id: Option<UserId>,
    pub(super) event_type: Option<EventType>,
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
}

impl EventFilter {
    /// Checks the fields.
    ///
    /// # Errors
    /// A sentence about the first one that is wrong.
    pub(super) fn wanted(&self) -> Result<Wanted> {
        Ok(Wanted {
            user_id: user(self.user_id.as_deref())?,
            event_type: event_type(self.event_type.as_deref())?,
            from: self.from.as_ref().map(|at| at.moment("from")).transpose()?,
            to: self.to.as_ref().map(|at| at.moment("to")).transpose()?,
        })
    }
}

impl Wanted {
    /// Whether this moment is in the range.
    pub(super) fn covers(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }
}

pub(super) fn user(name: Option<&str>) -> Result<Option<UserId>> {
    let refused = || invalid("userId must have 1 to 128 characters, none of them a control");
    name.map(|name| UserId::new(name).ok_or_else(refused)).transpose()
}

pub(super) fn event_type(name: Option<&str>) -> Result<Option<EventType>> {
    name.map(|name| EventType::new(name).ok_or_else(|| invalid("eventType is no name of a type"))).transpose()
}
