//! GraphQL over server-sent events, one operation a request (the "distinct connections mode"): events named `next` with an
//! answer each, then `complete`. At the stop of the hub the stream ends without one, and clients come back.

use std::convert::Infallible;

use async_graphql::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream, Stream};

use crate::base::shutdown::Stop;
use crate::hub::api::KEEP_ALIVE;

/// The data of `complete`: without any, an event is passed over by browsers.
const NOTHING: &str = "null";

/// The answers of an operation.
pub(super) fn answer(
    stop: Stop,
    answers: BoxStream<'static, Response>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold(Some((stop, answers)), |state| async {
        let (stop, mut answers) = state?;
        let next = tokio::select! {
            biased;
            () = stop.requested() => return None,
            next = answers.next() => next,
        };
        match next {
            // An answer is JSON always.
            Some(answer) => Some((Ok(Event::default().event("next").json_data(answer).ok()?), Some((stop, answers)))),
            None if stop.is_requested() => None,
            None => Some((Ok(Event::default().event("complete").data(NOTHING)), None)),
        }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
