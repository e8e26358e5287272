//! A request in flight to the MCP server, and what is retained of it for a retry.
//!
//! A call may be sent twice only if the server certainly did not see it the first time: running a tool twice is worse than a 502.
//!
//! | what happened | retried |
//! |---|---|
//! | the connection ended before anything of the request was written to it | yes |
//! | HTTP/2: the server refused the stream (`REFUSED_STREAM`), or excluded it in its `GOAWAY` (RFC 9113, section 8.7) | yes |
//! | HTTP/1.1: the connection ended after the request was written, even in part | no: the server may have run it |
//! | anything else | no |

use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::body::Bytes;
use http::{HeaderMap, Method, Uri};
use http_body::{Body, Frame, SizeHint};

/// Bodies go out in pieces of at most this size. A TLS connection copies each piece and keeps the buffer; one piece for the whole body
/// would leave a buffer of its size with every connection.
const PIECE: usize = 64 * 1024;

/// A request's head, as it is forwarded.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
}

/// The body of a request in flight.
#[derive(Debug)]
pub(super) struct Sending {
    /// Until the first piece is asked for.
    whole: Option<Arc<Mutex<Option<Bytes>>>>,
    rest: Bytes,
    /// Whether the body stays with [`Spare`] while it is sent.
    stays: bool,
}

/// A request that can be retried.
#[derive(Debug)]
pub(super) struct Spare {
    head: Head,
    body: Arc<Mutex<Option<Bytes>>>,
}

impl Sending {
    /// A body, and what is needed to retry the request. With `until_answered` the body stays in memory until the spare is dropped,
    /// otherwise only until it is sent.
    pub(super) fn new(head: &Head, body: Bytes, until_answered: bool) -> (Self, Spare) {
        let rest = body.clone();
        let whole = Arc::new(Mutex::new(Some(body)));
        (Self { whole: Some(Arc::clone(&whole)), rest, stays: until_answered }, Spare { head: head.clone(), body: whole })
    }

    /// A body that is sent once.
    pub(super) fn once(body: Bytes) -> Self {
        Self { whole: None, rest: body, stays: false }
    }
}

impl Spare {
    /// The request, unless its body is gone.
    pub(super) fn again(self) -> Option<(Head, Bytes)> {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some((self.head, body))
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(whole) = self.whole.take().filter(|_| !self.stays) {
            whole.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// Whether the server certainly did not process the request that failed with this error.
pub(super) fn was_never_taken(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(|cause| {
        let unsent = cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
        unsent || cause.downcast_ref::<h2::Error>().is_some_and(is_refusal)
    })
}

/// Streams that a `GOAWAY` covers do not fail with it: they go on.
fn is_refusal(error: &h2::Error) -> bool {
    let refused_stream = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused_stream || error.is_go_away())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn head() -> Head {
        Head { method: http::Method::POST, uri: http::Uri::default(), headers: http::HeaderMap::new() }
    }

    #[tokio::test]
    async fn a_body_goes_out_whole_and_in_pieces() {
        let bytes = Bytes::from((0..3 * PIECE as u32 / 2).map(|at| at as u8).collect::<Vec<_>>());
        let mut body = Sending::once(bytes.clone());
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        let first = body.frame().await.expect("a frame").expect("infallible").into_data().expect("data");
        assert_eq!((first.len(), body.is_end_stream()), (PIECE, false));
        let rest = body.collect().await.expect("infallible").to_bytes();
        assert!([first, rest].concat() == bytes, "in order, and nothing lost");
        assert!(Sending::once(Bytes::new()).is_end_stream());
    }

    #[tokio::test]
    async fn what_was_sent_stays_only_where_the_server_can_say_that_it_did_not_look() {
        for (until_answered, stays) in [(true, true), (false, false)] {
            let (body, spare) = Sending::new(&head(), Bytes::from_static(b"{}"), until_answered);
            body.collect().await.expect("infallible");
            assert_eq!(spare.again().map(|(_, body)| body), stays.then(|| Bytes::from_static(b"{}")));
        }
        let (_unsent, spare) = Sending::new(&head(), Bytes::from_static(b"{}"), false);
        assert!(spare.again().is_some(), "nothing of it was asked for");
        // A request without a body loses nothing.
        let (empty, spare) = Sending::new(&head(), Bytes::new(), false);
        drop(empty);
        assert!(spare.again().is_some());
    }
}
