//! How many bytes of request bodies may be in memory at once, over all requests of a server.
//!
//! A [`Charge`] belongs to one body and grows with the bytes that were *received*, never with those that were announced: a client that
//! declares 7 MiB and sends nothing costs nothing. Part of the budget can be reserved for small bodies, so that a few large ones, or many
//! that stop halfway, do not keep out everyone else.
//!
//! ```
//! use tollgate::server::budget::Budget;
//!
//! // 32 MiB in all, 8 MiB of which only bodies of up to 64 KiB may use.
//! let budget = Budget::new(32 << 20).reserve(8 << 20, 64 << 10);
//! let mut charge = budget.charge(Some(5 << 20));
//! charge.try_grow(16 << 10)?;
//! assert_eq!(budget.used(), 16 << 10);
//! drop(charge);
//! assert_eq!(budget.used(), 0);
//! # Ok::<(), tollgate::server::budget::Exhausted>(())
//! ```

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of bytes, shared by all bodies under way. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: usize,
    reserve: usize,
    /// The largest body that may use the reserve.
    small: usize,
    /// A permit is a byte.
    general: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
}

/// The bytes of one body; returned to the budget on drop.
#[derive(Debug)]
pub struct Charge {
    budget: Budget,
    /// A body that was announced as large may never use the reserve, not even for its beginning.
    announced_large: bool,
    held: usize,
    general: Option<OwnedSemaphorePermit>,
    reserved: Option<OwnedSemaphorePermit>,
}

/// No room for these bytes: now, or, from [`Charge::grow`], ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too many bytes of request bodies are in memory")]
pub struct Exhausted;

impl Budget {
    /// A budget without a reserve.
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self { bytes, reserve: 0, small: 0, general: Arc::new(Semaphore::new(bytes)), reserved: Arc::new(Semaphore::new(0)) }
    }

    /// The same number of bytes, `reserve` of which only bodies of up to `small` bytes may use. For a budget that is not in use yet.
    #[must_use]
    pub fn reserve(self, reserve: usize, small: usize) -> Self {
        let reserve = reserve.min(self.bytes);
        let general = Arc::new(Semaphore::new(self.bytes - reserve));
        Self { reserve, small, general, reserved: Arc::new(Semaphore::new(reserve)), ..self }
    }

    /// An empty charge for a body whose announced length is this, where there is one (`Content-Length`).
    pub fn charge(&self, announced: Option<u64>) -> Charge {
        let announced_large = announced.is_some_and(|length| length > self.small as u64);
        Charge { budget: self.clone(), announced_large, held: 0, general: None, reserved: None }
    }

    /// Bytes that are charged now.
    pub fn used(&self) -> usize {
        self.bytes.saturating_sub(self.general.available_permits()).saturating_sub(self.reserved.available_permits())
    }
}

impl Charge {
    /// Bytes charged so far.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Charges more bytes, or nothing.
    ///
    /// # Errors
    /// When they do not fit at the moment.
    pub fn try_grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if self.stays_small(bytes) {
            let permits = permits(bytes)?;
            if let Ok(permit) = self.budget.reserved.clone().try_acquire_many_owned(permits) {
                merge(&mut self.reserved, permit);
            } else {
                merge(&mut self.general, self.budget.general.clone().try_acquire_many_owned(permits).map_err(|_| Exhausted)?);
            }
        } else {
            let permits = permits(bytes.saturating_add(self.in_reserve()))?;
            merge(&mut self.general, self.budget.general.clone().try_acquire_many_owned(permits).map_err(|_| Exhausted)?);
            self.reserved = None;
        }
        self.held += bytes;
        Ok(())
    }

    /// Charges more bytes as soon as there is room for them, first come, first served. Charges nothing when the future is dropped early.
    ///
    /// Give it a deadline: charges that hold something and wait for more can wait for each other.
    ///
    /// # Errors
    /// At once, when the body would not even fit into an empty budget.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let stays_small = self.stays_small(bytes);
        let room = self.budget.bytes - if stays_small { 0 } else { self.budget.reserve };
        if self.held.saturating_add(bytes) > room {
            return Err(Exhausted);
        }
        if self.try_grow(bytes).is_ok() {
            return Ok(());
        }
        let (general, reserved) = (self.budget.general.clone(), self.budget.reserved.clone());
        if stays_small {
            let permits = permits(bytes)?;
            tokio::select! {
                permit = reserved.acquire_many_owned(permits) => merge(&mut self.reserved, permit.map_err(|_| Exhausted)?),
                permit = general.acquire_many_owned(permits) => merge(&mut self.general, permit.map_err(|_| Exhausted)?),
            }
        } else {
            let permits = permits(bytes.saturating_add(self.in_reserve()))?;
            merge(&mut self.general, general.acquire_many_owned(permits).await.map_err(|_| Exhausted)?);
            self.reserved = None;
        }
        self.held += bytes;
        Ok(())
    }

    fn stays_small(&self, more: usize) -> bool {
        !self.announced_large && self.held.saturating_add(more) <= self.budget.small
    }

    fn in_reserve(&self) -> usize {
        self.reserved.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

fn permits(bytes: usize) -> Result<u32, Exhausted> {
    u32::try_from(bytes).map_err(|_| Exhausted)
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// 100 bytes, 40 of them for bodies of up to 10.
    fn budget() -> Budget {
        Budget::new(100).reserve(40, 10)
    }

    #[test]
    fn a_charge_is_returned_on_drop() {
        let budget = budget();
        let (mut large, mut small) = (budget.charge(Some(50)), budget.charge(Some(10)));
        assert_eq!((large.try_grow(50), small.try_grow(10)), (Ok(()), Ok(())));
        assert_eq!((budget.used(), large.held(), small.held()), (60, 50, 10));
        drop(large);
        assert_eq!(budget.used(), 10);
        drop(small);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_failed_charge_charges_nothing() {
        let budget = budget();
        let mut large = budget.charge(Some(61));
        large.try_grow(40).expect("room");
        assert_eq!(large.try_grow(21), Err(Exhausted));
        assert_eq!((budget.used(), large.held()), (40, 40));
        assert_eq!(large.try_grow(20), Ok(()));
    }

    #[test]
    fn the_reserve_is_for_small_bodies() {
        let budget = budget();
        let mut large = budget.charge(Some(1000));
        large.try_grow(60).expect("room");
        // Also the beginning of a large body is part of a large one.
        assert_eq!(budget.charge(Some(11)).try_grow(1), Err(Exhausted));
        let mut small: Vec<_> = (0..4).map(|_| budget.charge(Some(10))).collect();
        assert!(small.iter_mut().all(|small| small.try_grow(10).is_ok()));
        assert_eq!(budget.charge(Some(10)).try_grow(1), Err(Exhausted));
        drop(large);
        // Small ones use what is free of the rest, too.
        assert_eq!(budget.charge(Some(10)).try_grow(10), Ok(()));
    }

    #[test]
    fn a_body_of_unknown_length_leaves_the_reserve_when_it_grows() {
        let budget = budget();
        let mut large = budget.charge(Some(1000));
        large.try_grow(55).expect("room");
        let mut unknown = budget.charge(None);
        unknown.try_grow(10).expect("small so far");
        assert_eq!(unknown.try_grow(1), Err(Exhausted));
        assert_eq!(budget.used(), 65);
        drop(large);
        assert_eq!(unknown.try_grow(1), Ok(()));
        assert_eq!((budget.used(), budget.reserved.available_permits()), (11, 40));
    }

    #[test]
    fn without_a_reserve_size_does_not_matter() {
        let budget = Budget::new(10);
        let mut charge = budget.charge(None);
        assert_eq!(charge.try_grow(10), Ok(()));
        assert_eq!(budget.charge(Some(1)).try_grow(1), Err(Exhausted));
    }

    #[tokio::test]
    async fn waiting_ends_when_there_is_room() {
        let budget = budget();
        let (mut first, mut second) = (budget.charge(Some(60)), budget.charge(Some(60)));
        first.grow(60).await.expect("room");
        {
            let mut waiting = std::pin::pin!(second.grow(30));
            timeout(Duration::ZERO, waiting.as_mut()).await.expect_err("no room yet");
            drop(first);
            assert_eq!(waiting.await, Ok(()));
        }
        assert_eq!(budget.used(), 30);
    }

    #[tokio::test]
    async fn giving_up_waiting_charges_nothing() {
        let budget = budget();
        let (mut first, mut second) = (budget.charge(Some(60)), budget.charge(Some(60)));
        first.grow(50).await.expect("room");
        timeout(Duration::ZERO, second.grow(20)).await.expect_err("no room");
        assert_eq!((budget.used(), second.held()), (50, 0));
        assert_eq!(second.try_grow(10), Ok(()));
    }

    #[tokio::test]
    async fn a_charge_that_can_never_fit_does_not_wait() {
        let budget = budget();
        assert_eq!(budget.charge(None).grow(61).await, Err(Exhausted));
        let mut charge = budget.charge(None);
        charge.grow(60).await.expect("room");
        assert_eq!(charge.grow(1).await, Err(Exhausted));
    }
}
