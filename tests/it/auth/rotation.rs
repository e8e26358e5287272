//! Keys that change, and an issuer that is slow or away: no caller is admitted wrongly, and no other caller waits.
//!
//! The clock moves only when a test moves it, so "at once" means without waiting for anything.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use http::StatusCode;
use hyper::body::Bytes;
use serde_json::json;
use tokio::task::JoinSet;
use tollgate::auth::{Rejection, Verifier, VerifierSettings, settings::PATIENCE};

use super::{
    issuer::{Issuer, KEYS, Mood, OPENID},
    signer::{AUDIENCE, Signer, key_set, with},
};
use crate::support::{
    port::free_port,
    time::{StoppedClock, ends, eventually, moment},
};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A verifier that has read the keys, or tried to.
async fn settled(settings: &VerifierSettings) -> Verifier {
    let verifier = Verifier::start(settings).expect("good settings");
    verifier.settled().await;
    verifier
}

/// Who sent a token, when the issuer has answered.
async fn verdict(verifier: &Verifier, token: &str) -> Result<String, Rejection> {
    ends("a verdict", verifier.verify(token)).await.map(|caller| caller.subject().to_owned())
}

/// Who sent a token, without waiting; `None` where the caller would wait.
fn now(verifier: &Verifier, token: &str) -> Option<Result<String, Rejection>> {
    let judged = verifier.verify(token).now_or_never()?;
    Some(judged.map(|caller| caller.subject().to_owned()))
}

#[track_caller]
fn at_once(verifier: &Verifier, token: &str) -> Result<String, Rejection> {
    now(verifier, token).expect("nothing is waited for")
}

#[tokio::test]
async fn a_new_key_is_found_when_it_is_first_used() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let issuer = Issuer::start(&[&old]).await;
    let verifier = settled(&issuer.settings()).await;
    assert_eq!(at_once(&verifier, &issuer.token(&old, "alice")).as_deref(), Ok("alice"));
    assert_eq!(issuer.asked(KEYS), 1, "a key that is at hand is not asked for");
    issuer.set_keys(key_set(&[&new]));
    assert_eq!(verdict(&verifier, &issuer.token(&new, "bob")).await.as_deref(), Ok("bob"));
    assert_eq!(issuer.asked(KEYS), 2);
    // Remembered or not, a token goes with its key.
    assert_eq!(at_once(&verifier, &issuer.token(&old, "alice")), Err(Rejection::UnknownKey));
    assert_eq!(at_once(&verifier, &issuer.token(&old, "carol")), Err(Rejection::UnknownKey));
}

#[tokio::test]
async fn a_withdrawn_key_takes_remembered_tokens_along() {
    let (clock, refresh) = (StoppedClock::new(), Duration::from_secs(20));
    let (one, another) = (Signer::es256("one"), Signer::es256("another"));
    let issuer = Issuer::start(&[&one]).await;
    let verifier = settled(&issuer.settings().refresh_every(refresh)).await;
    let token = issuer.token(&one, "alice");
    assert_eq!(at_once(&verifier, &token).as_deref(), Ok("alice"));
    issuer.set_keys(key_set(&[&another]));
    clock.advance(refresh - MILLISECOND).await;
    assert_eq!(at_once(&verifier, &token).as_deref(), Ok("alice"), "the keys are not read again yet");
    clock.pass(MILLISECOND).await;
    eventually("the token is refused", async || now(&verifier, &token) == Some(Err(Rejection::UnknownKey))).await;
    let token = issuer.token(&another, "alice");
    assert_eq!(verdict(&verifier, &token).await.as_deref(), Ok("alice"));
    issuer.set_keys(json!({"keys": []}));
    clock.pass(refresh).await;
    eventually("no key is left", async || now(&verifier, &token) == Some(Err(Rejection::UnknownKey))).await;
}

#[tokio::test]
async fn a_new_key_under_an_old_name_is_found() {
    let (old, new) = (Signer::es256("default"), Signer::es256("default"));
    let issuer = Issuer::start(&[&old]).await;
    let verifier = settled(&issuer.settings()).await;
    issuer.set_keys(key_set(&[&new]));
    assert_eq!(verdict(&verifier, &issuer.token(&new, "alice")).await.as_deref(), Ok("alice"));
    assert_eq!(at_once(&verifier, &issuer.token(&old, "alice")), Err(Rejection::BadSignature));
    assert_eq!(issuer.asked(KEYS), 2);
}

#[tokio::test]
async fn unknown_keys_have_the_issuer_asked_once_in_a_cool_down() {
    let (clock, cool_down) = (StoppedClock::new(), Duration::from_millis(600));
    let known = Signer::es256("known");
    let issuer = Issuer::start(&[&known]).await;
    let verifier = settled(&issuer.settings().cool_down(cool_down)).await;
    let unknown = |kid: &str| issuer.token(&Signer::es256(kid), "mallory");
    assert_eq!(verdict(&verifier, &unknown("first")).await, Err(Rejection::UnknownKey));
    assert_eq!(issuer.asked(KEYS), 2, "once at start, once for the first");
    for count in 0..20 {
        assert_eq!(at_once(&verifier, &unknown(&format!("unknown {count}"))), Err(Rejection::UnknownKey));
    }
    clock.advance(cool_down - MILLISECOND).await;
    assert_eq!(at_once(&verifier, &unknown("early")), Err(Rejection::UnknownKey));
    assert_eq!(issuer.asked(KEYS), 2);
    clock.pass(MILLISECOND).await;
    assert_eq!(verdict(&verifier, &unknown("late")).await, Err(Rejection::UnknownKey));
    assert_eq!(issuer.asked(KEYS), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_callers_with_an_unknown_key_ask_once() {
    let (known, new) = (Signer::es256("known"), Signer::es256("new"));
    let issuer = Issuer::start(&[&known]).await;
    let verifier = settled(&issuer.settings().patience(Duration::from_secs(60)).fetch_timeout(Duration::from_secs(60))).await;
    issuer.set_keys(key_set(&[&known, &new]));
    issuer.set(Mood::Slow(Duration::from_millis(200)));
    let mut callers = JoinSet::new();
    for count in 0..100 {
        let (verifier, token) = (verifier.clone(), issuer.token(&new, &format!("user {count}")));
        callers.spawn(async move { (count, verifier.verify(&token).await.map(|caller| caller.subject().to_owned())) });
    }
    for (count, verdict) in callers.join_all().await {
        assert_eq!(verdict, Ok(format!("user {count}")));
    }
    // Nor once more when all are served, which would begin at once.
    moment().await;
    assert_eq!((issuer.asked(KEYS), issuer.asked(OPENID)), (2, 2));
}

#[tokio::test]
async fn an_issuer_that_hangs_stalls_strangers_for_a_moment_and_others_not_at_all() {
    let (clock, fetch_timeout) = (StoppedClock::new(), Duration::from_secs(3));
    let known = Signer::es256("known");
    let issuer = Issuer::start(&[&known]).await;
    let verifier = settled(&issuer.settings().fetch_timeout(fetch_timeout)).await;
    issuer.set(Mood::Hangs);
    let stranger = {
        let (verifier, token) = (verifier.clone(), issuer.token(&Signer::es256("new"), "mallory"));
        tokio::spawn(async move { verifier.verify(&token).await.map(|caller| caller.subject().to_owned()) })
    };
    eventually("the stranger has the issuer asked", async || issuer.asked(OPENID) == 2).await;
    for user in ["alice", "bob"] {
        assert_eq!(at_once(&verifier, &issuer.token(&known, user)).as_deref(), Ok(user));
    }
    clock.advance(PATIENCE - MILLISECOND).await;
    moment().await;
    assert!(!stranger.is_finished(), "the stranger waits");
    clock.pass(MILLISECOND).await;
    assert_eq!(ends("the stranger's patience", stranger).await.expect("no panic"), Err(Rejection::UnknownKey));
    // When reading has failed, the issuer is known to be away, and strangers do not wait either.
    clock.pass(fetch_timeout - PATIENCE).await;
    let newer = issuer.token(&Signer::es256("newer"), "mallory");
    eventually("strangers do not wait", async || now(&verifier, &newer) == Some(Err(Rejection::IssuerAway))).await;
    assert_eq!(at_once(&verifier, &issuer.token(&known, "carol")).as_deref(), Ok("carol"));
    assert_eq!(issuer.asked(OPENID), 2, "an issuer in trouble is left alone");
}

#[tokio::test]
async fn an_issuer_that_comes_late_is_waited_for_by_nobody() {
    let clock = StoppedClock::new();
    let signer = Signer::es256("e");
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/realm");
    let verifier = settled(&VerifierSettings::new(&url, AUDIENCE)).await;
    assert!(!verifier.has_keys());
    let token = signer.token(&with(json!({"iss": url})));
    assert_eq!(at_once(&verifier, &token), Err(Rejection::IssuerAway));
    let _issuer = Issuer::start_on(port, &[&signer]).await;
    clock.pass(Duration::from_secs(1)).await;
    eventually("the issuer is found", async || now(&verifier, &token) == Some(Ok("alice".to_owned()))).await;
    assert!(verifier.has_keys());
}

#[tokio::test]
async fn the_first_callers_wait_for_a_slow_issuer_but_not_for_ever() {
    let (clock, slow) = (StoppedClock::new(), Duration::from_millis(150));
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    let first = |verifier: Verifier| {
        let token = issuer.token(&signer, "alice");
        tokio::spawn(async move { verifier.verify(&token).await.map(|caller| caller.subject().to_owned()) })
    };
    issuer.set(Mood::Slow(slow));
    let caller = first(Verifier::start(&issuer.settings()).expect("good settings"));
    for path in [OPENID, KEYS] {
        eventually("it is asked", async || issuer.asked(path) == 1).await;
        clock.pass(slow).await;
    }
    assert_eq!(ends("discovery and keys", caller).await.expect("no panic").as_deref(), Ok("alice"), "within patience");
    issuer.set(Mood::Hangs);
    let caller = first(Verifier::start(&issuer.settings()).expect("good settings"));
    eventually("it is asked", async || issuer.asked(OPENID) == 2).await;
    clock.pass(PATIENCE).await;
    assert_eq!(ends("the caller's patience", caller).await.expect("no panic"), Err(Rejection::IssuerAway));
}

#[tokio::test]
async fn keys_of_an_issuer_that_went_away_last_for_a_while() {
    let (clock, refresh, stale) = (StoppedClock::new(), Duration::from_secs(20), Duration::from_secs(90));
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    let verifier = settled(&issuer.settings().refresh_every(refresh).stale_for(stale)).await;
    let remembered = issuer.token(&signer, "alice");
    assert_eq!(at_once(&verifier, &remembered).as_deref(), Ok("alice"));
    issuer.set(Mood::Away);
    clock.pass(refresh).await;
    let stranger = issuer.token(&Signer::es256("x"), "mallory");
    eventually("reading fails", async || now(&verifier, &stranger) == Some(Err(Rejection::IssuerAway))).await;
    assert_eq!(at_once(&verifier, &issuer.token(&signer, "bob")).as_deref(), Ok("bob"), "stale, but good");
    clock.advance(stale - 2 * MILLISECOND).await;
    assert_eq!(at_once(&verifier, &remembered).as_deref(), Ok("alice"));
    clock.pass(MILLISECOND).await;
    assert_eq!(at_once(&verifier, &remembered), Err(Rejection::IssuerAway), "the keys are too old");
    assert!(!verifier.has_keys());
    assert_eq!(at_once(&verifier, &issuer.token(&signer, "bob")), Err(Rejection::IssuerAway));
    issuer.set(Mood::Answers);
    eventually("the issuer is back", async || {
        clock.pass(Duration::from_secs(1)).await;
        now(&verifier, &remembered) == Some(Ok("alice".to_owned()))
    })
    .await;
}

#[tokio::test]
async fn answers_that_are_no_keys_change_nothing() {
    let (clock, refresh) = (StoppedClock::new(), Duration::from_secs(20));
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    let huge = format!("{}{}", " ".repeat(300 * 1024), key_set(&[&signer]));
    for mood in [
        Mood::Says(Bytes::from(huge)),
        Mood::Says(Bytes::from("<html>")),
        Mood::Says(Bytes::from("[".repeat(100_000))),
        Mood::Says(Bytes::new()),
        Mood::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Mood::Status(StatusCode::NO_CONTENT),
        Mood::Away,
    ] {
        issuer.set(Mood::Answers);
        let verifier = settled(&issuer.settings().refresh_every(refresh)).await;
        issuer.set(mood.clone());
        let before = issuer.asked(KEYS);
        clock.pass(refresh).await;
        let stranger = issuer.token(&Signer::es256("x"), "mallory");
        eventually(&format!("{mood:?} is a failure"), async || now(&verifier, &stranger) == Some(Err(Rejection::IssuerAway))).await;
        assert_eq!(at_once(&verifier, &issuer.token(&signer, "alice")).as_deref(), Ok("alice"), "{mood:?}");
        assert!(issuer.asked(KEYS) <= before + 1, "an issuer in trouble is left alone");
        // With nothing from before, nobody is let in.
        let verifier = settled(&issuer.settings()).await;
        assert_eq!(at_once(&verifier, &issuer.token(&signer, "alice")), Err(Rejection::IssuerAway), "{mood:?}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (signer, own) = (Signer::es256("e"), Signer::es256("e"));
    let (issuer, elsewhere) = (Issuer::start(&[&signer]).await, Issuer::start(&[&own]).await);
    let settings = issuer.settings().jwks_url(format!("{}/keys", issuer.url));
    issuer.set(Mood::Redirects(format!("{}/keys", elsewhere.url)));
    let verifier = settled(&settings).await;
    assert_eq!(at_once(&verifier, &issuer.token(&own, "mallory")), Err(Rejection::IssuerAway));
    assert_eq!((issuer.asked(KEYS), elsewhere.asked(KEYS)), (1, 0));
}

#[tokio::test]
async fn nobody_asks_any_more_when_the_verifier_is_gone() {
    let (clock, refresh) = (StoppedClock::new(), Duration::from_secs(20));
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    let verifier = Arc::new(settled(&issuer.settings().refresh_every(refresh)).await);
    for times in 2..5 {
        clock.pass(refresh).await;
        eventually("keys are read again", async || issuer.asked(KEYS) == times && verifier.keys_age().is_zero()).await;
    }
    drop(verifier);
    for _ in 0..5 {
        clock.pass(refresh).await;
        moment().await;
    }
    assert_eq!(issuer.asked(KEYS), 4);
}
