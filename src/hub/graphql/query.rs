//! What may be asked.

use async_graphql::{Object, Result};

use super::error::{failed, invalid};
use super::filter::{self, EventFilter};
use super::scalar::DateTime;
use super::view::{AggregatedMetrics, Event, EventConnection, Minute};
use crate::hub::api::Api;
use crate::hub::store::{self, PAGE_MAX};
use crate::hub::totals::{MINUTES_MAX, check_range};

/// The queries.
pub(super) struct Query {
    pub(super) api: Api,
}

/// Looks at events and minutes.
#[Object]
impl Query {
    /// The last events, the newest first, by the time at which they happened: 5, or as many as `limit` says, at most 200.
    async fn last_events(
        &self,
        #[graphql(default = 5)] limit: i32,
        user_id: Option<String>,
        event_type: Option<String>,
    ) -> Result<Vec<Event>> {
        let query = store::Query {
            user_id: filter::user(user_id.as_deref())?,
            event_type: filter::event_type(event_type.as_deref())?,
            limit: page_size("limit", limit)?,
            ..store::Query::default()
        };
        let events = self.api.store().list_events(&query).await.map_err(|e| failed(&e))?;
        Ok(events.iter().map(Event::from).collect())
    }

    /// What the last whole minutes and the running one add up to, by the time at which events happened. At most a day.
    async fn aggregated_metrics(&self, #[graphql(default = 1)] minutes: i32) -> Result<AggregatedMetrics> {
        let totals = self.api.totals(minute_count(minutes)?).await.map_err(|e| failed(&e))?;
        Ok((&totals).into())
    }

    /// A page of events, the newest first, by the time at which they happened; at most 200.
    async fn events(
        &self,
        after: Option<String>,
        #[graphql(default = 50)] first: i32,
        filter: Option<EventFilter>,
    ) -> Result<EventConnection> {
        let size = page_size("first", first)?;
        let wanted = filter.unwrap_or_default().wanted()?;
        let after = after.map(|text| text.parse().map_err(|()| invalid("after must be the cursor of an event")));
        let query = store::Query {
            user_id: wanted.user_id,
            event_type: wanted.event_type,
            from: wanted.from,
            to: wanted.to,
            after: after.transpose()?,
            // One more tells whether there is a next page.
            limit: size + 1,
            ..store::Query::default()
        };
        let events = self.api.store().list_events(&query).await.map_err(|e| failed(&e))?;
        Ok(EventConnection::page(events, size))
    }

    /// The minutes that begin in this range, `to` not included, in the order of time and type. At most a day.
    async fn minutes(&self, from: DateTime, to: DateTime, event_type: Option<String>) -> Result<Vec<Minute>> {
        let (from, to) = (from.moment("from")?, to.moment("to")?);
        check_range(from, to).map_err(invalid)?;
        let event_type = filter::event_type(event_type.as_deref())?;
        let minutes = self.api.store().list_minutes(from, to, event_type.as_ref()).await.map_err(|e| failed(&e))?;
        Ok(minutes.into_iter().map(Minute::from).collect())
    }
}

fn page_size(name: &str, size: i32) -> Result<usize> {
    let size = usize::try_from(size).ok().filter(|size| (1..=PAGE_MAX).contains(size));
    size.ok_or_else(|| invalid(format!("{name} must be from 1 to {PAGE_MAX}")))
}

/// Whole minutes of a window.
pub(super) fn minute_count(minutes: i32) -> Result<u32> {
    let minutes = u32::try_from(minutes).ok().filter(|minutes| (1..=MINUTES_MAX).contains(minutes));
    minutes.ok_or_else(|| invalid(format!("minutes must be from 1 to {MINUTES_MAX}")))
}
