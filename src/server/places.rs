//! A bounded number of places. When all are taken, a newcomer gets the place of the holder that has been idle for the longest.
//!
//! Without that, a client that takes all places and then does nothing keeps everyone else out until a deadline ends it, and can begin again at
//! once. Holders that have never done anything useful go first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// What a holder does with its place.
pub(crate) trait Holder {
    /// Since when it is idle; `None` while it is busy, and cannot lose its place.
    fn idle(&self) -> Option<Idle>;
}

/// Since when a holder is idle. The least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Idle {
    /// Whether it has done something useful before.
    pub(crate) proven: bool,
    pub(crate) since: Instant,
}

/// Places of one kind.
#[derive(Debug)]
pub(crate) struct Places<H> {
    most: usize,
    /// A holder that has been idle for less keeps its place.
    spared: Duration,
    taken: Mutex<Taken<H>>,
    freed: Notify,
}

#[derive(Debug)]
struct Taken<H> {
    next_id: u64,
    by_id: HashMap<u64, (H, Arc<Notify>)>,
}

/// A place; freed when dropped.
#[derive(Debug)]
pub(crate) struct Place<H> {
    places: Arc<Places<H>>,
    id: u64,
    lost: Arc<Notify>,
}

impl<H: Holder> Places<H> {
    pub(crate) fn new(most: usize, spared: Duration) -> Arc<Self> {
        let taken = Taken { next_id: 0, by_id: HashMap::new() };
        Arc::new(Self { most: most.max(1), spared, taken: Mutex::new(taken), freed: Notify::new() })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Taken<H>) -> T) -> T {
        f(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A place for this holder: a free one, or else an idle holder's.
    pub(crate) fn try_take(self: &Arc<Self>, holder: H) -> Option<Place<H>> {
        let lost = Arc::new(Notify::new());
        let id = self.with(|taken| {
            (taken.by_id.len() < self.most || taken.evict(Instant::now(), self.spared)).then(|| {
                taken.next_id += 1;
                taken.by_id.insert(taken.next_id, (holder, lost.clone()));
                taken.next_id
            })
        })?;
        Some(Place { places: self.clone(), id, lost })
    }

    /// The same, once there is one.
    pub(crate) async fn take(self: &Arc<Self>, holder: H) -> Place<H>
    where
        H: Clone,
    {
        loop {
            if let Some(place) = self.try_take(holder.clone()) {
                return place;
            }
            // A holder becomes idle without a word, so look again now and then.
            let _ = timeout(self.spared.max(Duration::from_millis(20)), self.freed.notified()).await;
        }
    }

    /// Takes a place from the holder that has been idle for the longest, if there is one.
    #[cfg(feature = "webhook")]
    pub(crate) fn evict(&self) -> bool {
        self.with(|taken| taken.evict(Instant::now(), self.spared))
    }
}

impl<H: Holder> Taken<H> {
    fn evict(&mut self, now: Instant, spared: Duration) -> bool {
        let idle = self.by_id.iter().filter_map(|(id, (holder, _))| Some((holder.idle()?, *id)));
        let longest = idle.filter(|(idle, _)| now.saturating_duration_since(idle.since) >= spared).min();
        let evicted = longest.and_then(|(_, id)| self.by_id.remove(&id));
        if let Some((_, lost)) = &evicted {
            lost.notify_one();
        }
        evicted.is_some()
    }
}

impl<H> Place<H> {
    /// Waits until the place has gone to someone else.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }
}

impl<H> Drop for Place<H> {
    fn drop(&mut self) {
        self.places.taken.lock().unwrap_or_else(PoisonError::into_inner).by_id.remove(&self.id);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[derive(Clone, Copy, Debug)]
    struct Fixed(Option<Idle>);

    impl Holder for Fixed {
        fn idle(&self) -> Option<Idle> {
            self.0
        }
    }

    fn idle_for(time: Duration, proven: bool) -> Fixed {
        Fixed(Some(Idle { proven, since: Instant::now() - time }))
    }

    const BUSY: Fixed = Fixed(None);

    async fn is_lost(place: &Place<Fixed>) -> bool {
        timeout(Duration::ZERO, place.lost()).await.is_ok()
    }

    #[tokio::test]
    async fn the_one_that_is_idle_for_the_longest_goes() {
        let places = Places::new(3, SECOND);
        let [busy, long, longer] =
            [BUSY, idle_for(60 * SECOND, false), idle_for(61 * SECOND, false)].map(|holder| places.try_take(holder).expect("a free place"));
        let newcomer = places.try_take(BUSY).expect("the place of the idle one");
        assert_eq!((is_lost(&busy).await, is_lost(&long).await, is_lost(&longer).await), (false, false, true));
        // What has lost its place has none to free.
        drop(longer);
        let _another = places.try_take(BUSY).expect("the other idle one's");
        assert!(is_lost(&long).await);
        assert!(places.try_take(BUSY).is_none(), "all are busy");
        drop(newcomer);
        assert!(places.try_take(BUSY).is_some());
    }

    #[tokio::test]
    async fn who_never_did_anything_goes_before_who_did() {
        let places = Places::new(2, SECOND);
        let [proven, stranger] =
            [idle_for(60 * SECOND, true), idle_for(2 * SECOND, false)].map(|holder| places.try_take(holder).expect("a free place"));
        let _newcomer = places.try_take(BUSY).expect("the stranger's");
        assert_eq!((is_lost(&proven).await, is_lost(&stranger).await), (false, true));
        assert!(places.evict() && is_lost(&proven).await);
    }

    #[tokio::test]
    async fn a_moment_of_idleness_is_spared() {
        let places = Places::new(1, SECOND);
        let place = places.try_take(idle_for(SECOND / 2, false)).expect("a free place");
        assert!(places.try_take(BUSY).is_none());
        assert!(!is_lost(&place).await);
    }

    #[tokio::test]
    async fn waiting_ends_with_a_free_place() {
        let places = Places::new(1, SECOND);
        let place = places.try_take(BUSY).expect("a free place");
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take(BUSY).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(place);
        waiting.await.expect("a place");
    }
}
