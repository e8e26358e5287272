//! Replicas, API servers and accidents in one model: whatever happens to the Secret and to the replicas, no call fails.
//!
//! Replicas act on views of different ages and stop in the middle of what they do; writes are taken only if they are based on the last
//! state. API servers see a `caBundle` late. What the Secret loses comes at a distance that lets a leaf that was due for renewal survive it.

use proptest::{collection::vec, prelude::*};
use time::{Duration, OffsetDateTime};

use super::{Bundle, Ca, Kept, Leaf, Lives, Published, Root, Step, plan, plan_leaf};

const LIVES: Lives = Lives { ca: Duration::seconds(150), leaf: Duration::seconds(45), soak: Duration::seconds(6) };
/// How late an API server may be: at most the soak time, and what a replica without a leaf waits.
const LAG: i64 = 2;
/// Between two losses.
const PEACE: usize = 15;

/// A state with its version.
type Versioned<T> = (T, usize);

/// A `caBundle` over time: since when it holds what.
type History = Vec<(OffsetDateTime, Vec<Root>)>;

#[derive(Clone, Default)]
struct View {
    secret: Option<Versioned<Kept>>,
    bundles: [Versioned<Vec<Root>>; 2],
}

#[derive(Clone, Default)]
struct Replica {
    published: Published,
    leaf: Option<Leaf>,
    view: View,
}

struct Model {
    lives: Lives,
    lag: i64,
    now: OffsetDateTime,
    secret: Option<Versioned<Kept>>,
    /// While the Secret is deleted: what is put back later.
    deleted_for: u8,
    version: usize,
    bundles: [History; 2],
    replicas: Vec<Replica>,
    steps: Vec<Step>,
}

/// What happens in a second.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    Empty,
    LoseCurrent,
    LoseNext,
    LoseBundle,
    Delete(u8),
    Ask,
    Kill(usize),
    Join,
}

/// What a replica manages to do in a second.
#[derive(Clone, Copy, Debug)]
struct Turn {
    sees: bool,
    parts: u8,
}

impl Event {
    fn is_loss(self) -> bool {
        !matches!(self, Self::Ask | Self::Kill(_) | Self::Join)
    }
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Empty),
        1 => Just(Event::LoseCurrent),
        1 => Just(Event::LoseNext),
        1 => Just(Event::LoseBundle),
        1 => (1..5_u8).prop_map(Event::Delete),
        2 => Just(Event::Ask),
        2 => (0..4_usize).prop_map(Event::Kill),
        3 => Just(Event::Join),
    ]
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    vec((prop::bool::weighted(0.8), prop_oneof![3 => Just(4_u8), 1 => 0..4_u8]).prop_map(|(sees, parts)| Turn { sees, parts }), 4)
}

const ALL: Turn = Turn { sees: true, parts: 4 };

impl Model {
    fn new(lives: Lives, lag: i64) -> Self {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(10_000);
        let bundles = [(); 2].map(|()| vec![(now, Vec::new())]);
        let secret = Some((Kept::default(), 0));
        Self { lives, lag, now, secret, deleted_for: 0, version: 0, bundles, replicas: vec![Replica::default(); 3], steps: Vec::new() }
    }

    fn view(&self) -> View {
        let bundles = self.bundles.each_ref().map(|history| (history.last().expect("it begins").1.clone(), history.len()));
        View { secret: self.secret.clone(), bundles }
    }

    fn put(&mut self, kept: Kept) {
        self.version += 1;
        self.secret = Some((kept, self.version));
    }

    fn happens(&mut self, event: Event) {
        let damaged = |model: &Self, damage: fn(&mut Kept)| {
            let (mut kept, _) = model.secret.clone()?;
            damage(&mut kept);
            Some(kept)
        };
        let put = match event {
            Event::Nothing => None,
            Event::Empty => damaged(self, |kept| *kept = Kept::default()),
            Event::LoseCurrent => damaged(self, |kept| kept.current = None),
            Event::LoseNext => damaged(self, |kept| kept.next = None),
            Event::LoseBundle => damaged(self, |kept| kept.bundle.clear()),
            Event::Ask => {
                let now = self.now;
                self.secret.clone().map(|(kept, _)| Kept { asked: Some(now), ..kept })
            }
            Event::Delete(seconds) => {
                (self.secret, self.deleted_for) = (None, seconds);
                None
            }
            Event::Kill(which) => {
                if self.replicas.len() > 1 && which < self.replicas.len() {
                    self.replicas.remove(which);
                }
                None
            }
            Event::Join => {
                if self.replicas.len() < 4 {
                    self.replicas.push(Replica::default());
                }
                None
            }
        };
        if let Some(kept) = put {
            self.put(kept);
        }
        if self.secret.is_none() {
            match self.deleted_for.checked_sub(1) {
                Some(left) => self.deleted_for = left,
                None => self.put(Kept::default()),
            }
        }
    }

    /// What `webhook::authority` does, part by part.
    fn acts(&mut self, which: usize, turn: Turn) {
        let (now, lives, current) = (self.now, self.lives, self.view());
        let replica = &mut self.replicas[which];
        if turn.sees {
            replica.view = current;
            for (bundle, (found, _)) in replica.published.0.iter_mut().zip(&replica.view.bundles) {
                bundle.observe(Some(found.clone()), now);
            }
        }
        if replica.published.0[0] == Bundle::Unread {
            return;
        }
        let (view, published) = (replica.view.clone(), replica.published.clone());
        let kept = view.secret.clone().map(|(kept, _)| kept).unwrap_or_default();
        let in_use = replica.leaf.as_ref().filter(|leaf| leaf.not_after >= now).map(|leaf| leaf.issuer.clone());
        for (history, (found, version)) in self.bundles.iter_mut().zip(&view.bundles).take(turn.parts.into()) {
            let target = kept.target(found, in_use.as_ref(), &lives, now);
            if target != *found && !target.is_empty() && *version == history.len() {
                history.push((now, target));
            }
        }
        if turn.parts > 2
            && let Some((kept, version)) = &view.secret
            && let Some(step) = plan(kept, &published, &lives, now).step
            && self.secret.as_ref().is_some_and(|(_, last)| last == version)
        {
            self.put(kept.after(step, &published.anywhere(), &lives, now).expect("a CA"));
            self.steps.push(step);
        }
        let names = ["localhost".to_owned()];
        let replica = &mut self.replicas[which];
        if turn.parts > 3 && plan_leaf(replica.leaf.as_ref(), &names, &kept, &published, &lives, now).now {
            let ca: &Ca = kept.current.as_ref().expect("planned");
            replica.leaf = Some(Leaf::sign(ca, &names, lives.leaf, now).expect("a leaf"));
        }
    }

    /// Whether a call to any replica that serves would fail, by any API server.
    fn failure(&self) -> Option<String> {
        for (which, replica) in self.replicas.iter().enumerate() {
            let Some(leaf) = &replica.leaf else { continue };
            if leaf.not_after <= self.now {
                return Some(format!("replica {which} serves an expired leaf"));
            }
            for (of, history) in self.bundles.iter().enumerate() {
                let since = self.now - Duration::seconds(self.lag);
                let first = history.iter().rposition(|(time, _)| *time <= since).unwrap_or_default();
                // Before the first CA, no call can succeed.
                for (_, roots) in history[first..].iter().filter(|(_, roots)| !roots.is_empty()) {
                    if !roots.iter().any(|root| *root == leaf.issuer && root.is_valid(self.now)) {
                        return Some(format!("an API server does not trust replica {which}, by configuration {of}"));
                    }
                }
            }
        }
        None
    }

    /// One second.
    fn second(&mut self, event: Event, turns: &[Turn]) -> Result<(), String> {
        self.now += Duration::SECOND;
        self.happens(event);
        for (which, turn) in turns.iter().enumerate().take(self.replicas.len()) {
            self.acts(which, *turn);
            if let Some(failure) = self.failure() {
                return Err(format!("{failure} after {:?}", self.steps));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_call_fails_and_order_returns(seconds in vec((events(), turns()), 1..300)) {
        let mut model = Model::new(LIVES, LAG);
        for (at, (event, turns)) in seconds.iter().enumerate() {
            let event = if event.is_loss() && at % PEACE != 0 { Event::Nothing } else { *event };
            // No replica fails to act forever.
            let turns = if at % 3 == 0 { &[ALL; 4] } else { &turns[..] };
            let second = model.second(event, turns);
            prop_assert!(second.is_ok(), "second {at}: {second:?}");
        }
        // Long enough for every lost CA to expire.
        for _ in 0..LIVES.ca.whole_seconds() + 30 {
            let second = model.second(Event::Nothing, &[ALL; 4]);
            prop_assert!(second.is_ok(), "afterwards: {second:?}");
        }
        let (kept, _) = model.secret.clone().expect("it is put back");
        let signer = kept.signer(model.now).expect("a CA").root().clone();
        prop_assert!(kept.bundle.contains(&signer) && kept.bundle.len() <= 3, "{kept:?}");
        let bundles = model.view().bundles.map(|(bundle, _)| bundle);
        for bundle in bundles {
            prop_assert!(bundle.contains(&signer) && bundle.len() <= 3, "{bundle:?}");
        }
        for replica in &model.replicas {
            let leaf = replica.leaf.as_ref().expect("each has one");
            prop_assert_eq!(leaf.verify(&replica.published.0[0].roots(), model.now), Ok(()));
        }
    }
}

#[test]
fn a_rotation_goes_through_every_step() {
    let mut model = Model::new(LIVES, LAG);
    for _ in 0..175 {
        model.second(Event::Nothing, &[ALL; 4]).expect("no call fails");
    }
    assert_eq!(model.steps, [Step::Create, Step::Publish, Step::Promote, Step::Tidy]);
    model.second(Event::Ask, &[ALL; 4]).expect("no call fails");
    assert_eq!(model.steps.last(), Some(&Step::Publish), "a rotation that is asked for begins at once");
}

/// The model has teeth.
#[test]
fn without_the_soak_time_calls_fail() {
    let fails = |soak| {
        let mut model = Model::new(Lives { soak, ..LIVES }, 5);
        (0..175).find_map(|_| model.second(Event::Nothing, &[ALL; 4]).err())
    };
    assert_eq!(fails(LIVES.soak), None);
    let failed = fails(Duration::ZERO);
    assert!(failed.as_ref().is_some_and(|failed| failed.contains("does not trust")), "{failed:?}");
}

#[test]
fn without_rights_on_the_configurations_nothing_is_promoted() {
    let now = OffsetDateTime::UNIX_EPOCH;
    let kept = Kept::default().after(Step::Create, &[], &LIVES, now).expect("a CA");
    let kept = kept.after(Step::Publish, &[], &LIVES, now).expect("a CA");
    let unread = Published::default();
    let later = now + Duration::seconds(50);
    assert_eq!(plan(&kept, &unread, &LIVES, later).step, None);
    assert!(!plan_leaf(None, &["localhost".to_owned()], &kept, &unread, &LIVES, later).now);
}

#[test]
fn what_is_written_is_read() {
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(10_000);
    let mut kept = Kept::default().after(Step::Create, &[], &LIVES, now).expect("a CA");
    kept = kept.after(Step::Publish, &[], &LIVES, now).expect("a CA");
    kept.asked = Some(now);
    let (mut data, mut annotations) = ([("other".to_owned(), b"theirs".to_vec())].into(), [("a".to_owned(), "b".to_owned())].into());
    kept.write(&mut data, &mut annotations);
    assert_eq!(Kept::read(&data, &annotations), kept);
    assert_eq!((data["other"].as_slice(), annotations["a"].as_str()), (&b"theirs"[..], "b"));
    for key in ["tls.key", "next.crt", "ca.crt"] {
        let mut damaged = data.clone();
        damaged.insert(key.to_owned(), b"garbage".to_vec());
        let read = Kept::read(&damaged, &annotations);
        assert_eq!(
            (read.current.is_none(), read.next.is_none(), read.bundle.is_empty()),
            (key == "tls.key", key == "next.crt", key == "ca.crt")
        );
    }
    kept = kept.after(Step::Promote, &[], &LIVES, now).expect("a CA");
    kept.asked = None;
    kept.write(&mut data, &mut annotations);
    assert_eq!(data["next.key"], b"", "the key of a promoted CA is in one place");
    assert_eq!(Kept::read(&data, &annotations), kept);
}
