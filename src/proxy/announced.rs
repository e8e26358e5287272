//! The older transport's second endpoint: a stream begins with the URL to which its client posts.
//!
//! ```text
//! event: endpoint
//! data: /messages/?session_id=7
//! ```
//!
//! Its path is remembered, so that POSTs to it pass and their calls are limited like the endpoint's: while the stream is open, and afterwards
//! as long as there is room, for clients that open another stream with the same path. A proxy only knows the paths of its own streams, so
//! with several replicas a client needs session affinity. The server's own name is removed from the URL.
//!
//! Path and query together identify the stream that the proxy's own responses are sent to ([`events`](super::events)).
//!
//! Only what precedes the first event is held back, and no client acts on half an event.

use std::{
    collections::HashMap,
    mem::take,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{StatusCode, Uri, header};
use hyper::body::{Body as HttpBody, Frame};

use super::{
    clean::is_clean,
    events::{Events, open_to},
    location::Origin,
};

/// The maximum number of remembered paths of closed streams.
const MOST_ENDED: usize = 1024;
/// The maximum length of what precedes the first event, mostly comments.
const LONGEST_HEAD: usize = 16 * 1024;
const LONGEST_URL: usize = 1024;

/// What streams have announced.
#[derive(Debug, Default)]
pub(super) struct Announced(Mutex<Streams>);

#[derive(Debug, Default)]
struct Streams {
    /// Paths, with the number of their open streams.
    paths: HashMap<Box<str>, usize>,
    /// Open streams, by path and query.
    open: HashMap<Box<str>, Vec<Open>>,
}

/// An open stream.
#[derive(Debug)]
struct Open {
    /// The user who opened it.
    user: Option<Box<str>>,
    events: Events,
}

/// What was asked for a stream.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) user: Option<Box<str>>,
}

impl Announced {
    pub(super) fn has(&self, path: &str) -> bool {
        self.streams().paths.contains_key(path)
    }

    /// The stream of a client that POSTs there: the only one with this URL, opened by the same user.
    pub(super) fn events(&self, posted: &Uri, user: Option<&str>) -> Option<Events> {
        let streams = self.streams();
        match streams.open.get(posted.path_and_query()?.as_str())?.as_slice() {
            [open] if open.user.as_deref() == user => Some(open.events.clone()),
            _ => None,
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what a stream announces, while forwarding it.
    pub(super) fn watch(self: &Arc<Self>, asked: Asked, origin: &Origin, response: Response) -> Response {
        let content_type = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let is_stream = content_type.get(..17).is_some_and(|essence| essence.eq_ignore_ascii_case(b"text/event-stream"));
        let is_open = response.body().size_hint().exact().is_none() && !response.headers().contains_key(header::CONTENT_ENCODING);
        if response.status() != StatusCode::OK || !is_stream || !is_open {
            return response;
        }
        let (events, sent) = Events::channel();
        let head = Head { held: Vec::new(), asked, origin: origin.clone(), announced: Arc::clone(self), events };
        response.map(|body| open_to(sent, Watched { body, head: Some(head), next: None, live: None }))
    }

    /// Remembers a stream by its path, and by its path and query.
    fn begin(self: &Arc<Self>, path: &str, url: String, user: Option<Box<str>>, events: Events) -> Live {
        let mut streams = self.streams();
        let paths = &mut streams.paths;
        if paths.len() >= MOST_ENDED && !paths.contains_key(path) {
            paths.retain(|_, streams| *streams > 0);
        }
        *paths.entry(path.into()).or_default() += 1;
        let url: Box<str> = url.into();
        streams.open.entry(url.clone()).or_default().push(Open { user, events: events.clone() });
        Live { announced: Arc::clone(self), path: path.into(), url, events }
    }
}

/// Remembers a stream while it is open.
struct Live {
    announced: Arc<Announced>,
    path: Box<str>,
    url: Box<str>,
    events: Events,
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut streams = self.announced.streams();
        if let Some(streams) = streams.paths.get_mut(&self.path) {
            *streams = streams.saturating_sub(1);
        }
        let Some(open) = streams.open.get_mut(&self.url) else { return };
        open.retain(|open| !open.events.is(&self.events));
        if open.is_empty() {
            streams.open.remove(&self.url);
        }
    }
}

/// A stream that is forwarded.
struct Watched {
    body: Body,
    /// Until the first event.
    head: Option<Head>,
    /// A frame that arrived after bytes that were held back.
    next: Option<Option<Result<Frame<Bytes>, axum::Error>>>,
    live: Option<Live>,
}

/// What has arrived so far and may be part of the first event.
struct Head {
    held: Vec<u8>,
    asked: Asked,
    origin: Origin,
    announced: Arc<Announced>,
    events: Events,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        loop {
            if let Some(next) = this.next.take() {
                return Poll::Ready(next);
            }
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            let Some(head) = &mut this.head else { return Poll::Ready(frame) };
            let frame = match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    let released = head.take(&data, &mut this.live);
                    if released.is_last {
                        this.head = None;
                    }
                    if released.bytes.is_empty() {
                        continue;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(released.bytes.into()))));
                }
                Some(Ok(Err(trailers))) => Some(Ok(trailers)),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            let held = take(&mut head.held);
            this.head = None;
            if held.is_empty() {
                return Poll::Ready(frame);
            }
            this.next = Some(frame);
            return Poll::Ready(Some(Ok(Frame::data(held.into()))));
        }
    }
}

/// What can be forwarded now.
struct Released {
    bytes: Vec<u8>,
    /// Whether the rest of the stream is forwarded unread.
    is_last: bool,
}

impl Head {
    fn take(&mut self, data: &[u8], live: &mut Option<Live>) -> Released {
        self.held.extend_from_slice(data);
        let mut bytes = Vec::new();
        let mut is_last = self.held.len() > LONGEST_HEAD;
        while let Some(end) = end_of_block(&self.held).filter(|_| !is_last) {
            let rest = self.held.split_off(end);
            let block = std::mem::replace(&mut self.held, rest);
            match Event::read(&block) {
                Event::None => bytes.extend(block),
                Event::Other => {
                    bytes.extend(block);
                    is_last = true;
                }
                Event::Endpoint(url) => {
                    bytes.extend(self.announce(&url, live).unwrap_or(block));
                    is_last = true;
                }
            }
        }
        if is_last {
            bytes.append(&mut self.held);
        }
        Released { bytes, is_last }
    }

    /// Remembers the URL; returns the replacement for the event, if it must be changed.
    fn announce(&self, url: &str, live: &mut Option<Live>) -> Option<Vec<u8>> {
        let local = self.origin.local(url, |_| false);
        let reference = local.as_deref().unwrap_or(url);
        let path = path_of(&self.asked.path, reference).filter(|path| reference.len() <= LONGEST_URL && is_clean(path));
        *live = path.map(|path| {
            let query = reference.split('#').next().and_then(|reference| reference.split_once('?'));
            let url = query.map_or_else(|| path.clone(), |(_, query)| format!("{path}?{query}"));
            self.announced.begin(&path, url, self.asked.user.clone(), self.events.clone())
        });
        local.map(|local| format!("event: endpoint\ndata: {local}\n\n").into_bytes())
    }
}

/// One block of a stream, as far as it matters here.
enum Event {
    /// A comment, or nothing.
    None,
    Endpoint(String),
    Other,
}

impl Event {
    fn read(block: &[u8]) -> Self {
        let text = String::from_utf8_lossy(block);
        let fields = text.trim_start_matches('\u{feff}').split(['\n', '\r']).filter_map(|line| line.split_once(':'));
        let (mut is_endpoint, mut data) = (false, None);
        for (name, value) in fields {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "event" => is_endpoint = value == "endpoint",
                "data" => data = Some(value.to_owned()),
                _ => {}
            }
        }
        match data {
            Some(url) if is_endpoint => Self::Endpoint(url.trim().to_owned()),
            Some(_) => Self::Other,
            None => Self::None,
        }
    }
}

/// Where the first block ends, its empty line included. Lines end with CRLF, LF or CR.
fn end_of_block(bytes: &[u8]) -> Option<usize> {
    let mut is_at_start = false;
    let mut bytes = bytes.iter().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        let ends_line = matches!(byte, b'\n' | b'\r');
        let mut end = at + 1;
        if *byte == b'\r'
            && let Some((at, _)) = bytes.next_if(|(_, byte)| **byte == b'\n')
        {
            end = at + 1;
        }
        if ends_line && is_at_start {
            return Some(end);
        }
        is_at_start = ends_line;
    }
    None
}

/// Resolves a reference against a base path.
fn path_of(base: &str, reference: &str) -> Option<String> {
    if let Some((_, rest)) = reference.split_once("://") {
        let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
        return path_of(base, path);
    }
    let path = reference.split(['?', '#']).next().unwrap_or_default();
    match path {
        "" => Some(base.to_owned()),
        _ if path.starts_with("//") => None,
        _ if path.starts_with('/') => Some(path.to_owned()),
        _ => Some(format!("{}/{path}", base.rsplit_once('/')?.0)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt;

    use super::*;

    fn origin() -> Origin {
        let uri: http::Uri = "http://mcp:8080/sse".parse().expect("a URL");
        Origin::new(uri.scheme().expect("a scheme"), uri.authority().expect("an authority"))
    }

    /// A body of unknown length that arrives in pieces.
    struct Pieces(VecDeque<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    fn watched(announced: &Arc<Announced>, pieces: &[&str]) -> Response {
        let body = Body::new(Pieces(pieces.iter().map(|piece| Bytes::from((*piece).to_owned())).collect()));
        let response = Response::builder().header("content-type", "text/event-stream; charset=utf-8").body(body).expect("a response");
        announced.watch(Asked { path: "/sse".to_owned(), user: Some("alice".into()) }, &origin(), response)
    }

    async fn passed(announced: &Arc<Announced>, pieces: &[&str]) -> String {
        let body = watched(announced, pieces).into_body().collect().await.expect("a whole body").to_bytes();
        String::from_utf8(body.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn what_is_announced_is_remembered_however_it_comes() {
        for (pieces, path) in [
            (&["event: endpoint\ndata: /messages/?session_id=7\n\n", "data: 1\n\n"][..], "/messages/"),
            (&["event:endpoint\r\ndata:/messages\r\n\r\n"], "/messages"),
            (&["data: /m\revent: endpoint\r\r"], "/m"),
            (&[": hello\n\n", "retry: 1\n\n: again\n", "event: end", "point\nda", "ta: messages?a\n", "\n"], "/messages"),
            (&["\u{feff}event: endpoint\ndata: https://mcp.example/messages/?a=b\n\n"], "/messages/"),
            (&["event: endpoint\ndata: ?a=b\n\n"], "/sse"),
        ] {
            let announced = Arc::new(Announced::default());
            assert_eq!(passed(&announced, pieces).await, pieces.concat(), "byte for byte");
            assert!(announced.has(path), "{path} of {pieces:?}: {announced:?}");
        }
    }

    #[tokio::test]
    async fn the_server_s_name_does_not_get_out() {
        let announced = Arc::new(Announced::default());
        let pieces = ["event: endpoint\ndata: http://mcp:8080/messages/?session_id=7\n", "\ndata: http://mcp:8080/\n\n"];
        let wanted = "event: endpoint\ndata: /messages/?session_id=7\n\ndata: http://mcp:8080/\n\n";
        assert_eq!(passed(&announced, &pieces).await, wanted, "what a tool says is not ours to change");
        assert!(announced.has("/messages/"));
    }

    #[tokio::test]
    async fn nothing_else_announces_anything_and_everything_passes() {
        let long = format!(": {}\n", "x".repeat(20_000));
        for pieces in [
            &["data: {\"jsonrpc\":\"2.0\"}\n\n", "event: endpoint\ndata: /late\n\n"][..],
            &["event: message\ndata: /a\n\n"],
            &["event: endpoint\ndata: /../admin\n\n"],
            &["event: endpoint\ndata: //evil.example/a\n\n"],
            &["event: endpoint\ndata: /unfinished"],
            &[&long, "event: endpoint\ndata: /a\n\n"],
            &[""],
            &[],
        ] {
            let announced = Arc::new(Announced::default());
            assert_eq!(passed(&announced, pieces).await, pieces.concat());
            assert!(announced.streams().paths.is_empty() && announced.streams().open.is_empty(), "{announced:?}");
        }
    }

    #[tokio::test]
    async fn paths_of_streams_that_go_on_are_never_forgotten() {
        let announced = Arc::new(Announced::default());
        let mut held = watched(&announced, &["event: endpoint\ndata: /mine\n\n", "data: 1\n\n"]).into_body();
        held.frame().await.expect("an event").expect("read");
        for other in 0..MOST_ENDED * 3 {
            passed(&announced, &[&format!("event: endpoint\ndata: /messages/{other}\n\n")]).await;
        }
        assert!(announced.has("/mine") && announced.streams().paths.len() <= MOST_ENDED + 1);
        assert_eq!(announced.streams().open.len(), 1, "streams that have ended take no events");
    }

    #[tokio::test]
    async fn a_stream_is_found_by_its_whole_url_and_its_user() {
        let announced = Arc::new(Announced::default());
        let find = |url: &str, user| announced.events(&url.parse().expect("a URL"), user).is_some();
        let mut streams = Vec::new();
        for url in ["/m?s=1", "http://mcp:8080/m?s=2#x", "?s=3", "/same", "/same"] {
            let mut body = watched(&announced, &[&format!("event: endpoint\ndata: {url}\n\n")]).into_body();
            body.frame().await.expect("an event").expect("read");
            streams.push(body);
        }
        for url in ["/m?s=1", "http://localhost/m?s=2", "/sse?s=3"] {
            assert!(find(url, Some("alice")), "{url}");
            assert!(!find(url, Some("bob")) && !find(url, None), "{url} is alice's");
        }
        for url in ["/m", "/m?s=4", "/m?s=1&t", "/m?s=2#x", "/same"] {
            assert!(find(url, Some("alice")) == (url == "/m?s=2#x"), "{url}");
        }
        streams.clear();
        assert!(!find("/m?s=1", Some("alice")) && announced.streams().open.is_empty());
    }
}
