//! Bodies that tell the connection how far they are, and bodies that must not break it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Method;
use hyper::body::{Frame, Incoming, SizeHint};

use super::panics;
use super::streams::Delivery;
use super::watched::{InFlight, Unread};

/// Bytes of a piece. The reader must make room for one of them within the time limit, however large the whole is. The last
/// piece of an answer is not watched; see [`super::streams`].
const PIECE_BYTES: usize = 16 * 1024;

/// The body of a response. Its request counts as in flight until the body is sent.
pub(super) struct WhileSent {
    body: Body,
    _in_flight: InFlight,
}

/// The body of a request, which notes when it was read to its end.
pub(super) struct Received {
    body: Incoming,
    unread: Unread,
}

/// The body of a response that ends with an error where it panics, and tells the log for which call.
pub(super) struct Caught {
    /// None once it has panicked.
    body: Option<Body>,
    call: Call,
}

/// A call as the log names it.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) route: String,
    pub(super) request_id: String,
}

/// A body in pieces, which notes whether they are taken.
pub(super) struct InPieces {
    body: Body,
    rest: Bytes,
    delivery: Arc<Delivery>,
}

impl WhileSent {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl HttpBody for WhileSent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Received {
    pub(super) fn new(body: Incoming, unread: Unread) -> Self {
        let received = Self { body, unread };
        received.note();
        received
    }

    fn note(&self) {
        if self.body.is_end_stream() {
            self.unread.ended();
        }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => this.note(),
            None => this.unread.ended(),
            // What is left of a body that broke may still come.
            Some(Err(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Caught {
    pub(super) fn new(body: Body, call: Call) -> Self {
        Self { body: Some(body), call }
    }
}

impl HttpBody for Caught {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx)));
        polled.unwrap_or_else(|cause| {
            // It is in no state to be asked again.
            this.body = None;
            let Call { method, route, request_id } = &this.call;
            let cause = panics::text(&*cause);
            log::error!(method = method.as_str(), route = route.as_str(), request_id = request_id.as_str(); "the body of an answer panicked; this is a bug: {cause}");
            Poll::Ready(Some(Err(Error::new("the body of the answer panicked"))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl InPieces {
    pub(super) fn new(body: Body, delivery: Arc<Delivery>) -> Self {
        Self { body, rest: Bytes::new(), delivery }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.delivery.offered();
        Frame::data(piece)
    }
}

impl HttpBody for InPieces {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        this.delivery.taken();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) if data.is_empty() => Frame::data(data),
            Ok(data) => {
                this.rest = data;
                this.piece()
            }
            // Trailers need no room.
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_in_pieces_is_the_same_body() {
        let whole: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let mut body = InPieces::new(Body::from(whole.clone()), Arc::default());
        let (mut got, mut pieces) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= PIECE_BYTES);
            got.extend_from_slice(&data);
            pieces += 1;
            assert_eq!(body.size_hint().exact(), Some((whole.len() - got.len()) as u64));
        }
        assert!(body.is_end_stream() && pieces == 7 && got == whole, "{pieces}");
    }
}
