//! Request bodies in memory: read whole, within a deadline, and no more at once than `--max-buffered-bytes`.
//!
//! A body is charged to the [`Budget`] before it is stored, and the charge is returned when the last byte of it has been sent to the server.
//! While it does not fit, it is not read: backpressure holds the client until it fits or the body's deadline passes.
//!
//! | a body of | is charged | and is in |
//! |---|---|---|
//! | up to 64 KiB | as it grows | a vector; these have room reserved for them, so that large bodies do not keep them out |
//! | more | in one step, when its first 64 KiB are there | a mapping of its own |
//!
//! In one step, because bodies that each hold a part and wait for the rest would deadlock. In a mapping, because its pages return to the
//! system when it is dropped, and are not allocated for bytes that never arrive; an allocator would retain them for the next body.
//!
//! Nothing of a body that is too large is kept. If its client needs the message's id in order to read the refusal, the rest is still
//! received, only to find the id.

use std::{io, time::Duration};

use axum::body::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use memmap2::MmapMut;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    mcp::{Id, IdScan},
    server::budget::{Budget, Charge},
};

/// The largest body that is stored in a vector and may use the reserve.
const SMALL: usize = 64 * 1024;
/// The initial capacity for a body of unknown length.
const FIRST: usize = 1024;
/// How many times the largest body is received in order to find the id of a message that is too large.
const SCANNED: usize = 16;

/// How bodies are read.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    budget: Budget,
    /// The largest one, in bytes.
    largest: usize,
    /// The deadline for a body.
    within: Duration,
}

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Larger than this many bytes; with the message's id, if wanted and found.
    TooLarge(usize, Option<Id>),
    /// It ended early.
    Broken,
    /// It was not received within this time.
    Late(Duration),
    /// It waited for room, and its deadline passed.
    NoRoom,
}

impl Bodies {
    /// Bodies of up to `largest` bytes, and up to `most` bytes at once.
    pub(super) fn new(most: usize, largest: usize, within: Duration) -> Self {
        let most = most.max(largest);
        let reserve = (most / 8).min(most - largest);
        Self { budget: Budget::new(most).reserve(reserve, SMALL), largest, within }
    }

    /// Bytes in memory now.
    pub(super) fn held(&self) -> usize {
        self.budget.used()
    }

    /// The whole body, whose length may have been declared. `wants_id` if its client reads a refusal only by the message's id.
    pub(super) async fn read(
        &self,
        announced: Option<u64>,
        mut body: impl Body<Data = Bytes> + Unpin,
        wants_id: bool,
    ) -> Result<Bytes, Unread> {
        let mut scan = Scan { id: wants_id.then(IdScan::default), left: self.largest.saturating_mul(SCANNED) };
        if announced.is_some_and(|length| length > self.largest as u64) {
            let is_short = announced.is_some_and(|length| length <= scan.left as u64);
            let id = if is_short { timeout(self.within, scan.rest(&mut body)).await.ok().flatten() } else { None };
            return Err(Unread::TooLarge(self.largest, id));
        }
        let mut buffer = Buffer {
            bodies: self,
            charge: self.budget.charge(announced),
            announced: announced.and_then(|length| usize::try_from(length).ok()),
            stored: Stored::Small(Vec::new()),
            waited: false,
        };
        let deadline = Instant::now() + self.within;
        match timeout_at(deadline, buffer.fill(&mut body)).await {
            Ok(Ok(())) => Ok(buffer.done()),
            Ok(Err(Over::Much(last))) => {
                scan.feed(buffer.stored.as_ref());
                drop(buffer);
                scan.feed(&last);
                drop(last);
                Err(Unread::TooLarge(self.largest, timeout_at(deadline, scan.rest(&mut body)).await.ok().flatten()))
            }
            Ok(Err(Over::Unread(why))) => Err(why),
            Err(_) if buffer.waited => Err(Unread::NoRoom),
            Err(_) => Err(Unread::Late(self.within)),
        }
    }
}

/// The search for the id of a message that is too large.
struct Scan {
    id: Option<IdScan>,
    /// How many more bytes to receive for it.
    left: usize,
}

impl Scan {
    fn feed(&mut self, piece: &[u8]) {
        match (self.left.checked_sub(piece.len()), &mut self.id) {
            (Some(left), Some(id)) => {
                self.left = left;
                id.feed(piece);
            }
            _ => self.id = None,
        }
        self.id.take_if(|id| id.is_lost());
    }

    /// The id, after what is left of the body.
    async fn rest(mut self, body: &mut (impl Body<Data = Bytes> + Unpin)) -> Option<Id> {
        while self.id.is_some()
            && let Some(frame) = body.frame().await
        {
            if let Ok(data) = frame.ok()?.into_data() {
                self.feed(&data);
            }
        }
        self.id?.finish()
    }
}

/// Why a body was not filled.
enum Over {
    /// It is too large: with the bytes that do not fit.
    Much(Bytes),
    Unread(Unread),
}

/// A body that is being read.
struct Buffer<'a> {
    bodies: &'a Bodies,
    charge: Charge,
    announced: Option<usize>,
    stored: Stored,
    /// Whether it had to wait for room.
    waited: bool,
}

/// The bytes so far.
enum Stored {
    Small(Vec<u8>),
    Large { map: MmapMut, len: usize },
}

/// A body as it is forwarded: its bytes, and their charge.
struct Held {
    stored: Stored,
    _charge: Charge,
}

impl Buffer<'_> {
    async fn fill(&mut self, body: &mut (impl Body<Data = Bytes> + Unpin)) -> Result<(), Over> {
        while let Some(frame) = body.frame().await {
            // Trailers are dropped.
            if let Ok(data) = frame.map_err(|_| Over::Unread(Unread::Broken))?.into_data() {
                let needed = self.stored.as_ref().len().saturating_add(data.len());
                if needed > self.bodies.largest {
                    return Err(Over::Much(data));
                }
                self.make_room(needed).await.map_err(Over::Unread)?;
                self.stored.push(&data);
            }
        }
        Ok(())
    }

    /// Charges more bytes, and allocates memory for them.
    async fn make_room(&mut self, needed: usize) -> Result<(), Unread> {
        let room = match self.announced {
            Some(length) if length <= SMALL || needed > SMALL => length.max(needed),
            None if needed > SMALL => self.bodies.largest,
            _ => needed.next_power_of_two().max(FIRST).min(self.bodies.largest),
        };
        let more = room.saturating_sub(self.charge.held());
        if more > 0 && self.charge.try_grow(more).is_err() {
            self.waited = true;
            self.charge.grow(more).await.map_err(|_| Unread::NoRoom)?;
        }
        self.stored.grow_to(room).map_err(|_| Unread::NoRoom)
    }

    fn done(mut self) -> Bytes {
        let len = self.stored.as_ref().len();
        // A body of unknown length was charged as the largest.
        let mut exact = self.bodies.budget.charge(Some(len as u64));
        if len < self.charge.held() && exact.try_grow(len).is_ok() {
            self.charge = exact;
        }
        Bytes::from_owner(Held { stored: self.stored, _charge: self.charge })
    }
}

impl Stored {
    fn grow_to(&mut self, room: usize) -> io::Result<()> {
        match self {
            Self::Small(bytes) if room <= SMALL => bytes.reserve_exact(room.saturating_sub(bytes.len())),
            Self::Small(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Large { map: MmapMut::map_anon(room)?, len: 0 };
                self.push(&bytes);
            }
            // All its room was reserved at the start; HTTP does not allow a body to exceed its declared length.
            Self::Large { map, .. } if room > map.len() => return Err(io::ErrorKind::OutOfMemory.into()),
            Self::Large { .. } => {}
        }
        Ok(())
    }

    fn push(&mut self, data: &[u8]) {
        match self {
            Self::Small(bytes) => bytes.extend_from_slice(data),
            Self::Large { map, len } => {
                if let Some(room) = map.get_mut(*len..*len + data.len()) {
                    room.copy_from_slice(data);
                    *len += data.len();
                }
            }
        }
    }
}

impl AsRef<[u8]> for Stored {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large { map, len } => map.get(..*len).unwrap_or_default(),
        }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.stored.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    const MIB: usize = 1024 * 1024;
    const WITHIN: Duration = Duration::from_millis(300);

    /// 4 MiB each, 10 MiB in all: 1.25 MiB of it for small ones.
    fn bodies() -> Bodies {
        Bodies::new(10 * MIB, 4 * MIB, WITHIN)
    }

    /// A body that is sent as the test goes on.
    fn sent() -> (mpsc::UnboundedSender<usize>, impl Body<Data = Bytes, Error = Infallible> + Unpin) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let frames = futures_util::stream::unfold(receiver, async |mut receiver| {
            let len: usize = receiver.recv().await?;
            Some((Ok(Frame::data(Bytes::from(vec![b'x'; len]))), receiver))
        });
        (sender, StreamBody::new(Box::pin(frames)))
    }

    #[tokio::test]
    async fn a_body_is_whole_and_charged_until_it_is_dropped() {
        let bodies = bodies();
        for len in [0, 1, FIRST, FIRST + 1, SMALL, SMALL + 1, 4 * MIB] {
            let whole: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            for announced in [Some(len as u64), None] {
                let read = bodies.read(announced, Full::from(whole.clone()), false).await.expect("room");
                assert!(read == whole, "{len} {announced:?}");
                let charged = bodies.held();
                assert!((len..=len.next_power_of_two().max(FIRST)).contains(&charged), "{charged} for {len} {announced:?}");
                let piece = read.slice(len / 2..);
                drop(read);
                assert_eq!(bodies.held(), charged, "a piece of it is still there");
                drop(piece);
                assert_eq!(bodies.held(), 0);
            }
        }
    }

    #[tokio::test]
    async fn what_is_only_announced_costs_nothing() {
        let bodies = bodies();
        let (sender, body) = sent();
        let read = bodies.read(Some(4 * MIB as u64), body, false);
        let sending = async {
            sender.send(10).expect("it is read");
            tokio::time::sleep(WITHIN / 3).await;
            assert_eq!(bodies.held(), FIRST);
        };
        assert_eq!(tokio::join!(read, sending).0, Err(Unread::Late(WITHIN)));
        assert_eq!(bodies.held(), 0);
    }

    #[tokio::test]
    async fn too_large_is_said_at_once_or_when_it_shows() {
        let bodies = bodies();
        assert_eq!(bodies.read(Some(4 * MIB as u64 + 1), sent().1, false).await, Err(Unread::TooLarge(4 * MIB, None)));
        assert_eq!(bodies.read(None, Full::from(vec![0; 4 * MIB + 1]), false).await, Err(Unread::TooLarge(4 * MIB, None)));
        let few = Bodies::new(0, 10, WITHIN);
        assert_eq!(few.read(None, Full::from("0123456789"), false).await.expect("room for one"), "0123456789");
        assert_eq!(few.read(None, Full::from("0123456789a"), false).await, Err(Unread::TooLarge(10, None)));
    }

    #[tokio::test]
    async fn the_id_of_a_message_that_is_too_large_is_found_without_keeping_it() {
        let bodies = bodies();
        let message =
            |arguments: usize| format!(r#"{{"method":"tools/call","params":"{}","jsonrpc":"2.0","id":7}}"#, "x".repeat(arguments));
        for arguments in [4 * MIB, 8 * MIB] {
            let large = message(arguments);
            for announced in [Some(large.len() as u64), None] {
                let read = bodies.read(announced, Full::from(large.clone()), true).await;
                assert!(matches!(&read, Err(Unread::TooLarge(_, Some(id))) if id.as_str() == "7"), "{read:?}");
            }
        }
        assert_eq!(bodies.held(), 0);
        let few = Bodies::new(0, 100, WITHIN);
        let (sender, body) = sent();
        let pieces = async {
            sender.send(90).expect("it is read");
            sender.send(20).expect("it is read");
        };
        assert_eq!(
            tokio::join!(few.read(None, body, true), pieces).0,
            Err(Unread::TooLarge(100, None)),
            "a body that is not a message is not awaited"
        );
        let (_sender, body) = sent();
        assert_eq!(few.read(Some(200), body, true).await, Err(Unread::TooLarge(100, None)), "nor longer than any other body");
        let large = message(100 * SCANNED);
        assert_eq!(
            few.read(Some(large.len() as u64), Full::from(large), true).await,
            Err(Unread::TooLarge(100, None)),
            "or without bounds"
        );
    }

    #[tokio::test]
    async fn without_room_large_bodies_wait_and_small_ones_do_not() {
        let bodies = bodies();
        let large = || Full::from(vec![b'x'; 4 * MIB]);
        let first = bodies.read(Some(4 * MIB as u64), large(), false).await.expect("room");
        let second = bodies.read(None, large(), false).await.expect("room");
        assert_eq!(bodies.held(), 8 * MIB);
        assert_eq!(bodies.read(Some(4 * MIB as u64), large(), false).await, Err(Unread::NoRoom));
        assert_eq!(bodies.read(None, large(), false).await, Err(Unread::NoRoom));
        for announced in [Some(SMALL as u64), None] {
            assert!(bodies.read(announced, Full::from(vec![b'x'; SMALL]), false).await.is_ok(), "{announced:?}");
        }
        assert_eq!(bodies.held(), 8 * MIB, "who gave up is not charged");
        let leaves = async {
            tokio::time::sleep(WITHIN / 10).await;
            drop(first);
        };
        assert!(tokio::join!(bodies.read(Some(4 * MIB as u64), large(), false), leaves).0.is_ok());
        drop(second);
    }

    /// Bodies that take a part each and wait for the rest would all end with nothing.
    #[tokio::test]
    async fn many_at_once_are_read_one_after_the_other() {
        let bodies = Bodies::new(10 * MIB, 4 * MIB, 100 * WITHIN);
        let reads = (0..20).map(|_| async {
            let (sender, body) = sent();
            let chunks = async {
                for _ in 0..40 {
                    let _ = sender.send(100 * 1024);
                    tokio::task::yield_now().await;
                }
                drop(sender);
            };
            tokio::join!(bodies.read(Some(40 * 100 * 1024), body, false), chunks).0.map(drop)
        });
        assert!(futures_util::future::join_all(reads).await.iter().all(Result::is_ok));
        assert_eq!(bodies.held(), 0);
    }
}
