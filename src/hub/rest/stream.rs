//! Events as they come, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::json;

use super::list::{type_of, user_of};
use super::view::EventResponse;
use crate::base::http::Problem;
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::Query;
use crate::base::http::problem::ProblemBody;
use crate::hub::api::{Api, KEEP_ALIVE, Watch, start_of};
use crate::hub::measures::Door;
use crate::hub::subscribe::{End, Filter};

/// How long a client waits before it comes back.
const RETRY: Duration = Duration::from_secs(1);
/// The position with which a browser comes back.
const LAST_EVENT_ID: &str = "last-event-id";

/// Which events to show.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamQuery {
    /// Events after this position; `first` begins at the oldest that is kept; without it events from now on.
    after: Option<String>,
    /// Of this user only.
    user_id: Option<String>,
    /// Of this type only.
    event_type: Option<String>,
}

/// Events as they come, as server-sent events (`text/event-stream`).
///
/// Each has its position as `id`, and the event as `data`. A client that comes back with its last position, by
/// `Last-Event-ID` or `after`, misses nothing. One that is over 1,000 events behind gets an event named `lagged` with its
/// position, and the stream ends.
#[utoipa::path(
    get, path = "/events/stream", tag = "events",
    params(StreamQuery, ("Last-Event-ID" = Option<String>, Header, description = "As `after`, and stronger: a browser sends it by itself.")),
    security(("bearer" = ["hub_reader"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "Events without an end.", body = EventResponse, content_type = "text/event-stream"),
        ErrorResponses,
        (status = 410, description = "Events after this position are not kept any more; the detail has the oldest position.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn stream_events(
    State(api): State<Api>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let start = start_of(last.or(query.after.as_deref())).map_err(Problem::invalid)?;
    let filter = Filter {
        user_id: query.user_id.as_deref().map(user_of).transpose()?,
        event_types: query.event_type.as_deref().map(type_of).transpose()?.into_iter().collect(),
    };
    let watch = api.subscribe(Door::Rest, start, filter).await?;
    let events = stream::unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        let (event, goes_on) = next(&mut watch).await?;
        Some((Ok(event), goes_on.then_some(watch)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The next event, and whether others may follow; nothing when the stream just ends.
async fn next(watch: &mut Watch) -> Option<(Event, bool)> {
    match watch.next().await {
        Ok(shown) => {
            let event = EventResponse::shown(&shown, watch.cursor());
            let event = Event::default().id(watch.cursor().to_string()).json_data(event).ok()?;
            Some((event, true))
        }
        Err(End::Stopping) => None,
        Err(end) => {
            let (name, position) = match &end {
                End::Lagged(cursor) => ("lagged", cursor.to_string()),
                End::OutOfRange(oldest) => ("position_expired", oldest.to_string()),
                End::Unavailable(_) | End::Stopping => ("unavailable", watch.cursor().to_string()),
            };
            let data = json!({"position": position, "detail": end.to_string()});
            let event = Event::default().event(name).retry(RETRY).json_data(data).ok()?;
            Some((event, false))
        }
    }
}

impl From<End> for Problem {
    fn from(end: End) -> Self {
        match end {
            End::OutOfRange(_) => Self::new(StatusCode::GONE, "position_expired", end.to_string()),
            End::Lagged(_) | End::Stopping => Self::unavailable(end.to_string()),
            End::Unavailable(why) => Self::unavailable("the bus does not answer; try again").because(why),
        }
    }
}
