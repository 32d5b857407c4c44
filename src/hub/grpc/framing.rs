//! Messages that begin must end: a client that sends half a message and falls silent holds memory, and no keep-alive of
//! the connection notices it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// Bytes before each message: whether it is packed, and its length.
const PREFIX_BYTES: usize = 5;

/// Watches the body of a call.
pub(super) async fn watch(State(patience): State<Duration>, request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(Watched::new(body, patience)))).await
}

/// Where a body is: between two messages, in the prefix of one, or in a message.
#[derive(Debug, Default)]
struct Place {
    prefix: Vec<u8>,
    rest: usize,
}

/// A body whose messages must be complete in time.
struct Watched {
    body: Body,
    place: Place,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

/// The rest of a message did not come.
#[derive(Debug, thiserror::Error)]
#[error("the rest of a message took too long to arrive")]
struct Stalled;

impl Place {
    fn is_within(&self) -> bool {
        self.rest > 0 || !self.prefix.is_empty()
    }

    /// Goes on by these bytes. Whether a message was completed by them.
    fn advance(&mut self, mut bytes: &[u8]) -> bool {
        let mut completed = false;
        while !bytes.is_empty() {
            if self.rest > 0 {
                let taken = self.rest.min(bytes.len());
                (self.rest, bytes) = (self.rest - taken, &bytes[taken..]);
            } else {
                let taken = (PREFIX_BYTES - self.prefix.len()).min(bytes.len());
                self.prefix.extend_from_slice(&bytes[..taken]);
                bytes = &bytes[taken..];
                if let [_, length @ ..] = self.prefix.as_slice()
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    self.rest = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                    self.prefix.clear();
                }
            }
            completed |= !self.is_within();
        }
        completed
    }
}

impl Watched {
    fn new(body: Body, patience: Duration) -> Self {
        Self { body, place: Place::default(), patience, waiting: None }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
                && (this.place.advance(data) || !this.place.is_within())
            {
                // The time is that of one message, however many pieces it has.
                this.waiting = None;
            }
            return Poll::Ready(frame);
        }
        if !this.place.is_within() {
            return Poll::Pending;
        }
        let patience = this.patience;
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Some(Err(axum::Error::new(Stalled))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    /// Far above every limit below; a test that waits this long has failed.
    const FAILED: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(PREFIX_BYTES + length, 7);
        bytes
    }

    proptest! {
        #[test]
        fn the_place_is_between_messages_exactly_at_their_ends(lengths in proptest::collection::vec(0_usize..20, 1..10), cuts in proptest::collection::vec(1_usize..9, 100..200)) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let ends: Vec<usize> = lengths.iter().scan(0, |end, length| { *end += PREFIX_BYTES + length; Some(*end) }).collect();
            let (mut place, mut at) = (Place::default(), 0);
            for cut in cuts {
                let end = (at + cut).min(bytes.len());
                place.advance(&bytes[at..end]);
                at = end;
                prop_assert_eq!(place.is_within(), at > 0 && !ends.contains(&at), "{}", at);
            }
        }
    }

    #[tokio::test]
    async fn half_a_message_ends_the_body_and_silence_between_messages_does_not() {
        let whole = Bytes::from(message(3));
        let half = whole.slice(..6);
        for (piece, is_ended) in [(whole, false), (half, true)] {
            let never = futures_util::stream::pending::<Result<Bytes, axum::Error>>();
            let first = futures_util::stream::iter([Ok(piece)]);
            let body = Body::from_stream(futures_util::StreamExt::chain(first, never));
            let mut body = Watched::new(body, SHORT);
            body.frame().await.unwrap().unwrap();
            let next = tokio::time::timeout(if is_ended { FAILED } else { 4 * SHORT }, body.frame()).await;
            assert_eq!(next.is_ok(), is_ended);
            assert!(next.is_err() || next.unwrap().unwrap().is_err());
        }
    }
}
