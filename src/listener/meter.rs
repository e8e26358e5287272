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

use super::Limits;

/// Notes on one connection, shared by its stream and its service.
#[derive(Clone, Debug)]
pub(super) struct Meter(Arc<Mutex<Notes>>);

#[derive(Debug)]
struct Notes {
    began: Instant,
    /// When the last request ended.
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

    fn bytes_came(&self, now: Instant) {
        self.with(|notes| {
            if notes.under_way == 0 {
                notes.head_since.get_or_insert(now);
            }
        });
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

    /// What the connection has earned by now, if it was asked to end at a time, or not yet. HTTP/2 sends frames of its own between requests,
    /// so its heads are not timed.
    pub(super) fn due(&self, now: Instant, limits: &Limits, times_heads: bool, asked_to_end: Option<Instant>) -> Due {
        self.with(|notes| {
            let over = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
            let idle = notes.under_way == 0;
            if times_heads && notes.head_since.is_some_and(|since| over(since, limits.head)) {
                Due::Cut("no whole request head in time")
            } else if idle && asked_to_end.is_some_and(|asked| over(asked.max(notes.quiet_since), limits.grace)) {
                // Its last answer is still on the way to a client that does not read it.
                Due::Cut("it did not end when asked to")
            } else if idle && over(notes.quiet_since, limits.idle) || over(notes.began, limits.age) || notes.requests >= limits.requests {
                Due::Farewell
            } else {
                Due::Nothing
            }
        })
    }
}

/// A stream that tells the meter of bytes that come.
#[derive(Debug)]
pub(super) struct Metered<S> {
    pub(super) stream: S,
    pub(super) meter: Meter,
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
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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
        let (limits, start) = (Limits::default(), Instant::now());
        let meter = Meter::new(start);
        meter.bytes_came(start);
        assert_eq!(meter.due(start + limits.head - SECOND, &limits, true, None), Due::Nothing);
        assert_eq!(meter.due(start + limits.head, &limits, true, None), Due::Cut("no whole request head in time"));
        assert_eq!(meter.due(start + limits.head, &limits, false, None), Due::Nothing);
        meter.request_began();
        meter.bytes_came(start + SECOND);
        assert_eq!(meter.due(start + limits.idle + SECOND, &limits, true, None), Due::Nothing);
        meter.request_ended(start + limits.idle);
        assert_eq!(meter.due(start + limits.idle + SECOND, &limits, true, None), Due::Nothing);
        let late = start + limits.idle * 2;
        assert_eq!(meter.due(late, &limits, true, None), Due::Farewell);
        assert_eq!(meter.due(late + limits.grace - SECOND, &limits, true, Some(late)), Due::Farewell);
        assert_eq!(meter.due(late + limits.grace, &limits, true, Some(late)), Due::Cut("it did not end when asked to"));
    }

    #[test]
    fn many_requests_earn_a_farewell() {
        let limits = Limits { requests: 2, ..Limits::default() };
        let now = Instant::now();
        let meter = Meter::new(now);
        meter.request_began();
        assert_eq!(meter.due(now, &limits, true, None), Due::Nothing);
        meter.request_began();
        assert_eq!(meter.due(now, &limits, true, None), Due::Farewell);
    }
}
