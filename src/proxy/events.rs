//! The proxy's own responses to clients of the older transport: an event on the client's stream.
//!
//! Such a client ignores the response to its POST. Those of the Python and TypeScript SDKs wait for an event until their own timeout, and
//! some end their session at an HTTP error. So the proxy sends its response where the server would, between two of its events, and answers
//! the POST with 202, in every `--reject-status`. If the stream is not in this process, or its queue is full, the POST gets an HTTP error.
//!
//! A stream accepts events only for POSTs of the user who opened it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::mpsc;

use crate::{gate::answer, mcp::Reply};

/// The maximum number of responses queued for a stream.
const MOST_WAITING: usize = 64;

/// Sends events into a stream.
#[derive(Clone, Debug)]
pub(super) struct Events(mpsc::Sender<Bytes>);

/// Where a client reads the proxy's response to its POST.
#[derive(Debug)]
pub(super) enum Answers {
    /// In the HTTP response.
    Here,
    /// On its stream, if known.
    Stream(Option<Events>),
}

impl Answers {
    /// Whether only a JSON-RPC error with the request's id reaches the client.
    pub(super) fn need_id(&self) -> bool {
        matches!(self, Self::Stream(Some(_)))
    }

    /// Delivers a reply, and returns the response to the POST.
    pub(super) fn give(&self, reply: Reply) -> Response {
        match self {
            Self::Here => answer::reply(reply),
            Self::Stream(Some(events)) if reply.is_awaited && events.send(&reply.body) => {
                let headers = reply.headers.into_iter().filter(|(name, _)| *name != "content-type").collect();
                answer::reply(Reply { status: 202, headers, body: Vec::new(), ..reply })
            }
            // The client ignores a JSON-RPC error here.
            Self::Stream(_) => answer::reply(Reply { status: reply.cause, ..reply }),
        }
    }
}

impl Events {
    pub(super) fn channel() -> (Self, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        (Self(sender), receiver)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }

    /// Sends a message, which is one line of JSON. Returns whether the stream accepts it.
    fn send(&self, message: &[u8]) -> bool {
        let event = [&b"event: message\ndata: "[..], message, b"\n\n"].concat();
        self.0.try_send(event.into()).is_ok()
    }
}

/// A stream with the proxy's events between those of the server.
pub(super) struct WithEvents<B> {
    stream: B,
    /// `None` once all senders are gone.
    events: Option<mpsc::Receiver<Bytes>>,
    /// The last bytes of the stream.
    tail: Vec<u8>,
    /// A frame of the server that follows the proxy's events.
    rest: Option<Bytes>,
}

impl<B> WithEvents<B> {
    pub(super) fn new(stream: B, events: mpsc::Receiver<Bytes>) -> Self {
        Self { stream, events: Some(events), tail: Vec::new(), rest: None }
    }

    fn pass(&mut self, data: Bytes) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.tail.extend_from_slice(data.get(data.len().saturating_sub(LONGEST_END)..).unwrap_or_default());
        self.tail.drain(..self.tail.len().saturating_sub(LONGEST_END));
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

impl<B: HttpBody<Data = Bytes, Error = axum::Error> + Unpin> HttpBody for WithEvents<B> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if ends_event(&this.tail)
            && let Some(events) = &mut this.events
        {
            match events.poll_recv(context) {
                Poll::Ready(Some(event)) => return Poll::Ready(Some(Ok(Frame::data(event)))),
                Poll::Ready(None) => this.events = None,
                Poll::Pending => {}
            }
        }
        if let Some(rest) = this.rest.take() {
            return this.pass(rest);
        }
        let frame = match ready!(Pin::new(&mut this.stream).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(mut data))) => {
                // On a busy stream, frames need not end where events do.
                if this.events.as_ref().is_some_and(|events| !events.is_empty())
                    && let Some(end) = (1..=data.len()).rev().find(|end| data.get(..*end).is_some_and(ends_event))
                {
                    this.rest = Some(data.split_off(end)).filter(|rest| !rest.is_empty());
                }
                return this.pass(data);
            }
            Some(Ok(Err(trailers))) => Some(Ok(trailers)),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        };
        Poll::Ready(frame)
    }
}

/// The maximum length of the end of an event, in bytes.
const LONGEST_END: usize = 4;

/// Whether bytes of a stream end with an empty line, so that an event may follow. A LF may still follow a CR: it is one more empty
/// line.
fn ends_event(bytes: &[u8]) -> bool {
    [&b"\n\n"[..], b"\r\r", b"\n\r", b"\n\r\n"].iter().any(|end| bytes.ends_with(end))
}

/// Wraps a stream's body so that events can be sent into it.
pub(super) fn open_to(
    events: mpsc::Receiver<Bytes>,
    stream: impl HttpBody<Data = Bytes, Error = axum::Error> + Unpin + Send + 'static,
) -> Body {
    Body::new(WithEvents::new(stream, events))
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    type Pieces = mpsc::UnboundedSender<&'static str>;

    fn stream() -> (Pieces, Events, Body) {
        let (pieces, receiver) = mpsc::unbounded_channel();
        let frames = futures_util::stream::unfold(receiver, async |mut receiver| {
            let piece: &'static str = receiver.recv().await?;
            Some((Ok(Frame::data(Bytes::from(piece))), receiver))
        });
        let (events, receiver) = Events::channel();
        (pieces, events, open_to(receiver, StreamBody::new(Box::pin(frames))))
    }

    async fn next(body: &mut Body) -> Option<String> {
        let frame = tokio::time::timeout(std::time::Duration::from_millis(100), body.frame()).await.ok()??;
        Some(String::from_utf8(frame.expect("read").into_data().expect("data").to_vec()).expect("text"))
    }

    const OURS: &str = "event: message\ndata: {}\n\n";

    #[tokio::test]
    async fn an_event_of_ours_comes_between_two_of_the_server_s() {
        for end in ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n"] {
            let (pieces, events, mut body) = stream();
            assert!(events.send(b"{}"));
            pieces.send("data: 1").expect("read");
            assert_eq!(next(&mut body).await.as_deref(), Some("data: 1"));
            assert_eq!(next(&mut body).await, None, "in the middle of an event");
            pieces.send(end).expect("read");
            assert_eq!(next(&mut body).await.as_deref(), Some(end));
            assert_eq!(next(&mut body).await.as_deref(), Some(OURS), "after {end:?}");
            assert_eq!(next(&mut body).await, None);
            assert!(events.send(b"{}"));
            assert_eq!(next(&mut body).await.as_deref(), Some(OURS), "while the server is silent");
        }
    }

    #[tokio::test]
    async fn a_busy_stream_is_parted_where_an_event_ends() {
        let (pieces, events, mut body) = stream();
        assert!(events.send(b"{}"));
        pieces.send("data: 1\n\ndata: 2\n\nda").expect("read");
        pieces.send("ta: 3\n\n").expect("read");
        let mut all = Vec::new();
        while let Some(piece) = next(&mut body).await {
            all.push(piece);
        }
        assert_eq!(all, ["data: 1\n\ndata: 2\n\n", OURS, "da", "ta: 3\n\n"]);
    }

    #[tokio::test]
    async fn a_stream_that_no_one_reads_takes_no_more_than_its_share() {
        let (_pieces, events, body) = stream();
        let taken = (0..1000).filter(|_| events.send(b"{}")).count();
        assert_eq!(taken, MOST_WAITING);
        drop(body);
        assert!(!events.send(b"{}"));
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_server_ends_it() {
        let (pieces, events, body) = stream();
        drop((pieces, events));
        assert_eq!(body.collect().await.expect("read").to_bytes(), "");
    }
}
