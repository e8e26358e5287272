//! What a connection is doing: between requests, in the middle of a head, or with requests under way.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{
    ConnectionLimits,
    places::{Holder, Idle},
};

/// Notes on one connection, shared by its stream and its service.
#[derive(Clone, Debug)]
pub(super) struct Meter(Arc<Mutex<Notes>>);

#[derive(Debug)]
struct Notes {
    began: Instant,
    /// When the last request ended or the last byte of its answer went out, or the connection was opened.
    quiet_since: Instant,
    /// When the first byte came that no request accounts for yet.
    head_since: Option<Instant>,
    under_way: u32,
    requests: u64,
}

/// What a connection has earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// To be asked to end.
    Farewell,
    /// To be cut.
    Cut(&'static str),
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Notes { began: now, quiet_since: now, head_since: None, under_way: 0, requests: 0 })))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Notes) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes the end of a handshake: from now on, a request is expected.
    pub(super) fn opened(&self, now: Instant) {
        self.with(|notes| {
            notes.began = now;
            notes.quiet_since = now;
        });
    }

    fn bytes_came(&self, now: Instant) {
        self.with(|notes| {
            if notes.under_way == 0 {
                notes.head_since.get_or_insert(now);
            }
        });
    }

    /// Notes that an answer goes out: it may take long after the request has ended for us.
    fn bytes_went(&self, now: Instant) {
        self.with(|notes| notes.quiet_since = now);
    }

    pub(super) fn request_began(&self) {
        self.with(|notes| {
            notes.head_since = None;
            notes.under_way += 1;
            notes.requests += 1;
        });
    }

    pub(super) fn request_ended(&self, now: Instant) {
        self.with(|notes| {
            notes.under_way = notes.under_way.saturating_sub(1);
            notes.quiet_since = now;
        });
    }

    /// Whether the next answer is to be the last on this connection.
    pub(super) fn is_worn_out(&self, now: Instant, limits: &ConnectionLimits) -> bool {
        self.with(|notes| notes.is_worn_out(now, limits))
    }

    /// What the connection has earned by now, if it was asked to end at a time, or not yet.
    pub(super) fn due(&self, now: Instant, limits: &ConnectionLimits, is_http2: bool, asked_to_end: Option<Instant>) -> Due {
        self.with(|notes| {
            // HTTP/2 sends frames of its own between requests, so its heads are not timed.
            let head_since = notes.head_since.filter(|_| !is_http2);
            let is_idle = notes.under_way == 0;
            if head_since.is_some_and(|since| over(now, since, limits.head)) {
                Due::Cut("no whole request head in time")
            } else if notes.requests == 0 && head_since.is_none() && over(now, notes.quiet_since, limits.first) {
                Due::Cut("no request in time")
            } else if is_idle && asked_to_end.is_some_and(|asked| over(now, asked.max(notes.quiet_since), limits.grace)) {
                // Its last answer is still on the way to a client that does not read it.
                Due::Cut("it did not end when asked to")
            } else if is_idle && over(now, notes.quiet_since, limits.idle) || is_http2 && notes.is_worn_out(now, limits) {
                // Worn-out HTTP/1.1 is served on: only an answer can announce the end, so that the client does not lose a request to it.
                Due::Farewell
            } else {
                Due::Nothing
            }
        })
    }
}

impl Notes {
    fn is_worn_out(&self, now: Instant, limits: &ConnectionLimits) -> bool {
        over(now, self.began, limits.age) || self.requests >= limits.requests
    }
}

fn over(now: Instant, since: Instant, limit: Duration) -> bool {
    now.saturating_duration_since(since) >= limit
}

impl Holder for Meter {
    fn idle(&self) -> Option<Idle> {
        self.with(|notes| (notes.under_way == 0).then_some(Idle { proven: notes.requests > 0, since: notes.quiet_since }))
    }
}

/// A stream that notes in the meter what passes. Of HTTP/2, which sends frames of its own while it is idle, only what is received.
#[derive(Debug)]
pub(super) struct Metered<S> {
    pub(super) stream: S,
    pub(super) meter: Meter,
    pub(super) is_http2: bool,
}

impl<S> Metered<S> {
    fn wrote(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if !self.is_http2 && matches!(poll, Poll::Ready(Ok(1..))) {
            self.meter.bytes_went(Instant::now());
        }
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.meter.bytes_came(Instant::now());
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_head_has_its_time_and_a_body_has_more() {
        let (limits, start) = (ConnectionLimits::default(), Instant::now());
        let meter = Meter::new(start);
        meter.bytes_came(start);
        assert_eq!(meter.due(start + limits.head - SECOND, &limits, false, None), Due::Nothing);
        assert_eq!(meter.due(start + limits.head, &limits, false, None), Due::Cut("no whole request head in time"));
        meter.request_began();
        meter.bytes_came(start + SECOND);
        assert_eq!(meter.due(start + limits.idle + SECOND, &limits, false, None), Due::Nothing);
        meter.request_ended(start + limits.idle);
        assert_eq!(meter.due(start + limits.idle + SECOND, &limits, false, None), Due::Nothing);
        let late = start + limits.idle * 2;
        assert_eq!(meter.due(late, &limits, false, None), Due::Farewell);
        assert_eq!(meter.due(late + limits.grace - SECOND, &limits, false, Some(late)), Due::Farewell);
        assert_eq!(meter.due(late + limits.grace, &limits, false, Some(late)), Due::Cut("it did not end when asked to"));
    }

    #[test]
    fn a_first_request_is_expected_soon() {
        let (limits, start) = (ConnectionLimits::default(), Instant::now());
        let opened = start + 3 * SECOND;
        for is_http2 in [false, true] {
            let meter = Meter::new(start);
            meter.opened(opened);
            assert_eq!(meter.due(opened + limits.first - SECOND, &limits, is_http2, None), Due::Nothing);
            assert_eq!(meter.due(opened + limits.first, &limits, is_http2, None), Due::Cut("no request in time"));
        }
        // A head that has begun has the time of heads; what HTTP/2 sends before its first request does not count.
        let meter = Meter::new(start);
        meter.bytes_came(start + limits.first - SECOND);
        assert_eq!(meter.due(start + limits.first, &limits, false, None), Due::Nothing);
        assert_eq!(meter.due(start + limits.first, &limits, true, None), Due::Cut("no request in time"));
        // A first request takes as long as it takes, and the next may be long in coming.
        let meter = Meter::new(start);
        meter.request_began();
        assert_eq!(meter.due(start + limits.idle, &limits, true, None), Due::Nothing);
        meter.request_ended(start + SECOND);
        assert_eq!(meter.due(start + limits.idle, &limits, true, None), Due::Nothing);
    }

    #[test]
    fn many_requests_or_a_long_life_wear_a_connection_out() {
        let limits = ConnectionLimits { requests: 2, ..ConnectionLimits::default() };
        let start = Instant::now();
        let meter = Meter::new(start);
        meter.request_began();
        assert_eq!((meter.is_worn_out(start, &limits), meter.due(start, &limits, true, None)), (false, Due::Nothing));
        assert!(meter.is_worn_out(start + limits.age, &limits));
        meter.request_began();
        assert!(meter.is_worn_out(start, &limits));
        assert_eq!(meter.due(start, &limits, true, None), Due::Farewell);
        assert_eq!(meter.due(start, &limits, false, None), Due::Nothing, "its next answer says so");
    }

    #[test]
    fn only_without_a_request_may_it_lose_its_place() {
        let start = Instant::now();
        let meter = Meter::new(start);
        assert_eq!(meter.idle(), Some(Idle { proven: false, since: start }));
        meter.request_began();
        assert_eq!(meter.idle(), None);
        meter.request_ended(start + SECOND);
        assert_eq!(meter.idle(), Some(Idle { proven: true, since: start + SECOND }));
    }
}
