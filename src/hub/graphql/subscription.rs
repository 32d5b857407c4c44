//! What may be watched.

use std::time::Duration;

use async_graphql::{Error, Result, Subscription};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::error::{ended, failed, invalid};
use super::filter::{EventFilter, Wanted};
use super::query::minute_count;
use super::view::{AggregatedMetrics, Event};
use crate::hub::api::{Api, Watch, start_of};
use crate::hub::measures::Door;
use crate::hub::subscribe::{End, Filter};
use crate::hub::totals::Totals;

/// Between two looks at the minutes. Counting them tells nothing to other processes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The subscriptions.
pub(super) struct Subscription {
    pub(super) api: Api,
}

/// What a subscription hands out, until it ends. At the stop it just ends: the transport tells the client why.
type Items<T> = BoxStream<'static, Result<T>>;

/// Watches events and minutes.
#[Subscription]
impl Subscription {
    /// Events as they come, in the order of their positions. A client that comes back with its last position misses
    /// nothing; `first` begins at the oldest event that is kept, and without `startAfter` it begins now.
    ///
    /// A subscriber that is over 1,000 events behind gets an error with the code LAGGED and its position.
    async fn event_stream(&self, start_after: Option<String>, filter: Option<EventFilter>) -> Result<Items<Event>> {
        let start = start_of(start_after.as_deref()).map_err(|e| invalid(e.replace("'after'", "startAfter")))?;
        let wanted = filter.unwrap_or_default().wanted()?;
        let filter =
            Filter { user_id: wanted.user_id.clone(), event_types: wanted.event_type.clone().into_iter().collect() };
        let watch = self.api.subscribe(Door::Graphql, start, filter).await.map_err(|end| ended(&end))?;
        Ok(events(watch, wanted).boxed())
    }

    /// What the last whole minutes and the running one add up to: at once, and then whenever it has changed.
    async fn minute_updates(&self, #[graphql(default = 1)] minutes: i32) -> Result<Items<AggregatedMetrics>> {
        Ok(updates(self.api.clone(), minute_count(minutes)?).boxed())
    }
}

fn events(watch: Watch, wanted: Wanted) -> impl stream::Stream<Item = Result<Event>> {
    stream::unfold(Some((watch, wanted)), |state| async {
        let (mut watch, wanted) = state?;
        loop {
            match watch.next().await {
                Ok(shown) if !wanted.covers(shown.delivery.event.timestamp) => {}
                Ok(shown) => {
                    let event = Event::shown(&shown, watch.cursor());
                    return Some((Ok(event), Some((watch, wanted))));
                }
                Err(End::Stopping) => return None,
                Err(end) => return Some((Err(ended(&end)), None)),
            }
        }
    })
}

/// What was said last, while there is more to come.
struct Updates {
    api: Api,
    minutes: u32,
    last: Option<Totals>,
}

fn updates(api: Api, minutes: u32) -> impl stream::Stream<Item = Result<AggregatedMetrics>> {
    stream::unfold(Some(Updates { api, minutes, last: None }), |updates| async {
        let mut updates = updates?;
        match updates.next().await {
            Some(Ok(totals)) => {
                let metrics = AggregatedMetrics::from(&totals);
                updates.last = Some(totals);
                Some((Ok(metrics), Some(updates)))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    })
}

impl Updates {
    /// The next totals that differ from the last ones; nothing at the stop.
    async fn next(&self) -> Option<Result<Totals, Error>> {
        loop {
            if self.last.is_some() {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = self.api.stop().requested() => return None,
                }
            }
            match self.api.totals(self.minutes).await {
                Ok(totals) if self.last.as_ref() == Some(&totals) => {}
                Ok(totals) => return Some(Ok(totals)),
                Err(error) => return Some(Err(failed(&error))),
            }
        }
    }
}
