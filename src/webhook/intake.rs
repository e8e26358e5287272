//! Bodies on their way in: how many, how many bytes of them, and which gives way when there are too many.
//!
//! Small ones have places and bytes of their own, so that large ones, which are rare, never keep them out. When they are full, the body
//! that has been on its way for the longest gives way; where all have just begun, the newcomer is refused with a Retry-After.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::{Instant, timeout};

use super::refusal::Refusal;
use crate::server::{
    budget::{Budget, Charge},
    places::{Holder, Idle, Place, Places},
};

/// As in controller-runtime: an update carries two objects of up to 3 MiB each.
const LARGEST: usize = 7 * 1024 * 1024;
/// Reviews up to this have bytes and places of their own. Most have a tenth of it.
const SMALL: usize = 64 * 1024;
/// Of all bodies, from their first byte until they are judged. A large one costs a multiple while it is judged; that and 1,024 connections
/// have to fit into the 128 MiB of the manifests, too.
const BYTES: usize = 32 * 1024 * 1024;
const RESERVE: usize = 8 * 1024 * 1024;
/// Larger bodies than [`SMALL`] being received at once.
const LARGE_AT_ONCE: usize = 64;
/// An API server sends a body at once. One that takes longer may lose its place, however steadily it is sent.
const SPARED: Duration = Duration::from_secs(1);
/// How long a body waits for bytes of others to be returned: until another may lose its place, and some more.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where bodies are received.
#[derive(Debug)]
pub(super) struct Intake {
    /// Reviews under way; those of small bodies from the beginning, others once they are whole.
    reviews: Arc<Places<Review>>,
    large: Arc<Places<Review>>,
    budget: Budget,
}

/// A whole body. Its place and its bytes are held as long as it is.
#[derive(Debug)]
pub(super) struct Whole {
    bytes: Vec<u8>,
    _place: Place<Review>,
    _charge: Charge,
}

impl Whole {
    /// What was received. By a method, so that a closure which uses it owns all of this.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A review as far as its place is concerned.
#[derive(Clone, Debug)]
struct Review {
    began: Instant,
    is_whole: Arc<AtomicBool>,
}

impl Review {
    fn begin() -> Self {
        Self { began: Instant::now(), is_whole: Arc::default() }
    }
}

impl Holder for Review {
    /// While it waits for its client, or for bytes.
    fn idle(&self) -> Option<Idle> {
        (!self.is_whole.load(Ordering::Acquire)).then_some(Idle { proven: false, since: self.began })
    }
}

impl Intake {
    pub(super) fn new(max_in_flight: usize) -> Self {
        Self {
            reviews: Places::new(max_in_flight, SPARED),
            large: Places::new(LARGE_AT_ONCE, SPARED),
            budget: Budget::new(BYTES).reserve(RESERVE, SMALL),
        }
    }

    /// Reads a body to its end.
    pub(super) async fn receive(&self, body: Body, announced: Option<usize>) -> Result<Whole, Refusal> {
        if announced.is_some_and(|length| length > LARGEST) {
            return Err(Refusal::TooLarge);
        }
        // Of a body of unknown length, the worst is expected.
        let is_small = announced.is_some_and(|length| length <= SMALL);
        let places = if is_small { &self.reviews } else { &self.large };
        let review = Review::begin();
        let place = places.try_take(review.clone()).ok_or(Refusal::Overloaded)?;
        let mut charge = self.budget.charge(announced.map(|length| length as u64));
        let bytes = tokio::select! {
            bytes = read(body, announced, places, &mut charge) => bytes?,
            () = place.lost() => return Err(Refusal::Overloaded),
        };
        review.is_whole.store(true, Ordering::Release);
        let place = if is_small { place } else { self.reviews.try_take(review).ok_or(Refusal::Overloaded)? };
        Ok(Whole { bytes, _place: place, _charge: charge })
    }
}

async fn read(body: Body, announced: Option<usize>, places: &Places<Review>, charge: &mut Charge) -> Result<Vec<u8>, Refusal> {
    // Memory that nothing has been written to is not resident.
    let mut bytes = Vec::with_capacity(announced.unwrap_or_default());
    let mut body = Limited::new(body, LARGEST);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| if error.is::<LengthLimitError>() { Refusal::TooLarge } else { Refusal::Cut })?;
        let Ok(data) = frame.into_data() else { continue };
        if charge.try_grow(data.len()).is_err() {
            timeout(PATIENCE, make_room(places, charge, data.len())).await.map_err(|_| Refusal::Overloaded)??;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Charges bytes at the cost of bodies that have been on their way for too long.
async fn make_room(places: &Places<Review>, charge: &mut Charge, bytes: usize) -> Result<(), Refusal> {
    let mut charged = pin!(charge.grow(bytes));
    loop {
        places.evict();
        if let Ok(charged) = timeout(SPARED / 10, charged.as_mut()).await {
            return charged.map_err(|_| Refusal::Overloaded);
        }
    }
}
