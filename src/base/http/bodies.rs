//! Bodies of responses that tell the connection how far they are.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::streams::Delivery;
use super::watched::InFlight;

/// Bytes of a piece. The reader must make room for one of them within the time limit, however large the whole is.
const PIECE_BYTES: usize = 16 * 1024;

/// The body of a response. Its request counts as in flight until the body is sent.
pub(super) struct WhileSent {
    body: Body,
    _in_flight: InFlight,
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
    use super::*;
    use http_body_util::BodyExt;

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
