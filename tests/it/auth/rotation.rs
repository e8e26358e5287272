//! Keys that change, and an issuer that is slow or away: nobody gets in who should not, and nobody else waits.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;
use hyper::body::Bytes;
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};
use tollgate::auth::{Rejection, Verifier, VerifierSettings};

use super::{
    issuer::{Issuer, KEYS, Mood},
    signer::{AUDIENCE, Signer, key_set, with},
};
use crate::support::port::free_port;

/// What *at once* may take on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(1);

/// A verifier that has read the keys, or tried to.
async fn settled(settings: &VerifierSettings) -> Verifier {
    let verifier = Verifier::start(settings).expect("good settings");
    verifier.settled().await;
    verifier
}

async fn timed(verifier: &Verifier, token: &str) -> (Result<String, Rejection>, Duration) {
    let began = Instant::now();
    let verdict = verifier.verify(token).await.map(|caller| caller.subject().to_owned());
    (verdict, began.elapsed())
}

async fn within(limit: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_new_key_is_found_when_it_is_first_used() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let issuer = Issuer::start(&[&old]).await;
    let verifier = settled(&issuer.settings()).await;
    assert_eq!(timed(&verifier, &issuer.token(&old, "alice")).await.0.as_deref(), Ok("alice"));
    assert_eq!(issuer.asked(KEYS), 1, "a key that is at hand is not asked for");
    issuer.set_keys(key_set(&[&new]));
    assert_eq!(timed(&verifier, &issuer.token(&new, "bob")).await.0.as_deref(), Ok("bob"));
    assert_eq!(issuer.asked(KEYS), 2);
    // Remembered or not, a token goes with its key.
    assert_eq!(timed(&verifier, &issuer.token(&old, "alice")).await.0, Err(Rejection::UnknownKey));
    assert_eq!(timed(&verifier, &issuer.token(&old, "carol")).await.0, Err(Rejection::UnknownKey));
}

#[tokio::test]
async fn a_withdrawn_key_takes_remembered_tokens_along() {
    let (one, another) = (Signer::es256("one"), Signer::es256("another"));
    let issuer = Issuer::start(&[&one]).await;
    let verifier = settled(&issuer.settings().refresh_every(Duration::from_millis(50))).await;
    let token = issuer.token(&one, "alice");
    assert!(verifier.verify(&token).await.is_ok());
    issuer.set_keys(key_set(&[&another]));
    within(Duration::from_secs(5), "the token is refused", async || verifier.verify(&token).await == Err(Rejection::UnknownKey)).await;
    issuer.set_keys(json!({"keys": []}));
    let token = issuer.token(&another, "alice");
    within(Duration::from_secs(5), "no key is left", async || verifier.verify(&token).await == Err(Rejection::UnknownKey)).await;
}

#[tokio::test]
async fn a_new_key_under_an_old_name_is_found() {
    let (old, new) = (Signer::es256("default"), Signer::es256("default"));
    let issuer = Issuer::start(&[&old]).await;
    let verifier = settled(&issuer.settings()).await;
    issuer.set_keys(key_set(&[&new]));
    assert_eq!(timed(&verifier, &issuer.token(&new, "alice")).await.0.as_deref(), Ok("alice"));
    assert_eq!(timed(&verifier, &issuer.token(&old, "alice")).await.0, Err(Rejection::BadSignature));
    assert_eq!(issuer.asked(KEYS), 2);
}

#[tokio::test]
async fn unknown_keys_have_the_issuer_asked_once_in_a_cool_down() {
    let known = Signer::es256("known");
    let issuer = Issuer::start(&[&known]).await;
    let verifier = settled(&issuer.settings().cool_down(Duration::from_millis(600))).await;
    for count in 0..20 {
        let token = issuer.token(&Signer::es256(&format!("unknown {count}")), "mallory");
        let (verdict, took) = timed(&verifier, &token).await;
        assert_eq!(verdict, Err(Rejection::UnknownKey));
        assert!(took < AT_ONCE, "{took:?}");
    }
    assert_eq!(issuer.asked(KEYS), 2, "once at start, once for all of them");
    sleep(Duration::from_millis(700)).await;
    assert_eq!(timed(&verifier, &issuer.token(&Signer::es256("unknown"), "mallory")).await.0, Err(Rejection::UnknownKey));
    assert_eq!(issuer.asked(KEYS), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_callers_with_an_unknown_key_ask_once() {
    let (known, new) = (Signer::es256("known"), Signer::es256("new"));
    let issuer = Issuer::start(&[&known]).await;
    let verifier = settled(&issuer.settings().patience(Duration::from_secs(10))).await;
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
    // Nor once more when all are served.
    sleep(Duration::from_millis(700)).await;
    assert_eq!(issuer.asked(KEYS), 2);
}

#[tokio::test]
async fn an_issuer_that_hangs_stalls_strangers_for_a_moment_and_others_not_at_all() {
    let known = Signer::es256("known");
    let issuer = Issuer::start(&[&known]).await;
    let verifier = settled(&issuer.settings().fetch_timeout(Duration::from_secs(3))).await;
    issuer.set(Mood::Hangs);
    let stranger = {
        let (verifier, token) = (verifier.clone(), issuer.token(&Signer::es256("new"), "mallory"));
        tokio::spawn(async move { timed(&verifier, &token).await })
    };
    sleep(Duration::from_millis(100)).await;
    assert_eq!(issuer.asked(KEYS) + issuer.asked(super::issuer::OPENID), 3, "the stranger has the issuer asked");
    for user in ["alice", "bob"] {
        let (verdict, took) = timed(&verifier, &issuer.token(&known, user)).await;
        assert_eq!(verdict.as_deref(), Ok(user));
        assert!(took < AT_ONCE, "{took:?}");
    }
    let (verdict, took) = stranger.await.expect("no panic");
    assert_eq!(verdict, Err(Rejection::UnknownKey));
    assert!(took > PATIENCE / 2 && took < PATIENCE + AT_ONCE, "{took:?}");
    // When reading has failed, the issuer is known to be away, and strangers do not wait either.
    sleep(Duration::from_millis(2500)).await;
    let (verdict, took) = timed(&verifier, &issuer.token(&Signer::es256("newer"), "mallory")).await;
    assert_eq!(verdict, Err(Rejection::IssuerAway));
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(timed(&verifier, &issuer.token(&known, "carol")).await.0.as_deref(), Ok("carol"));
}

#[tokio::test]
async fn an_issuer_that_comes_late_is_waited_for_by_nobody() {
    let signer = Signer::es256("e");
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/realm");
    let verifier = settled(&VerifierSettings::new(&url, AUDIENCE)).await;
    assert!(!verifier.has_keys());
    let token = signer.token(&with(json!({"iss": url})));
    let (verdict, took) = timed(&verifier, &token).await;
    assert_eq!(verdict, Err(Rejection::IssuerAway));
    assert!(took < AT_ONCE, "{took:?}");
    let _issuer = Issuer::start_on(port, &[&signer]).await;
    within(Duration::from_secs(10), "the issuer is found", async || verifier.verify(&token).await.is_ok()).await;
    assert!(verifier.has_keys());
}

#[tokio::test]
async fn the_first_callers_wait_for_a_slow_issuer_but_not_for_ever() {
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    issuer.set(Mood::Slow(Duration::from_millis(150)));
    let verifier = Verifier::start(&issuer.settings()).expect("good settings");
    assert_eq!(timed(&verifier, &issuer.token(&signer, "alice")).await.0.as_deref(), Ok("alice"), "discovery and keys within patience");
    issuer.set(Mood::Hangs);
    let verifier = Verifier::start(&issuer.settings()).expect("good settings");
    let (verdict, took) = timed(&verifier, &issuer.token(&signer, "alice")).await;
    assert_eq!(verdict, Err(Rejection::IssuerAway));
    assert!(took < PATIENCE + AT_ONCE, "{took:?}");
}

#[tokio::test]
async fn keys_of_an_issuer_that_went_away_last_for_a_while() {
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    let settings = issuer.settings().refresh_every(Duration::from_millis(100)).stale_for(Duration::from_millis(1500));
    let verifier = settled(&settings).await;
    let remembered = issuer.token(&signer, "alice");
    assert!(verifier.verify(&remembered).await.is_ok());
    issuer.set(Mood::Away);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(timed(&verifier, &issuer.token(&signer, "bob")).await.0.as_deref(), Ok("bob"), "stale, but good");
    within(Duration::from_secs(5), "the keys are too old", async || verifier.verify(&remembered).await == Err(Rejection::IssuerAway)).await;
    assert!(!verifier.has_keys());
    assert_eq!(timed(&verifier, &issuer.token(&signer, "bob")).await.0, Err(Rejection::IssuerAway));
    issuer.set(Mood::Answers);
    within(Duration::from_secs(20), "the issuer is back", async || verifier.verify(&remembered).await.is_ok()).await;
}

#[tokio::test]
async fn answers_that_are_no_keys_change_nothing() {
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
        let verifier = settled(&issuer.settings().refresh_every(Duration::from_millis(100))).await;
        issuer.set(mood.clone());
        let before = issuer.asked(KEYS);
        sleep(Duration::from_millis(300)).await;
        let stranger = issuer.token(&Signer::es256("x"), "mallory");
        assert_eq!(timed(&verifier, &stranger).await.0, Err(Rejection::IssuerAway), "{mood:?}");
        assert_eq!(timed(&verifier, &issuer.token(&signer, "alice")).await.0.as_deref(), Ok("alice"), "{mood:?}");
        assert!(issuer.asked(KEYS) <= before + 1, "an issuer in trouble is left alone");
        // With nothing from before, nobody is let in.
        let verifier = settled(&issuer.settings()).await;
        assert_eq!(timed(&verifier, &issuer.token(&signer, "alice")).await.0, Err(Rejection::IssuerAway), "{mood:?}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (signer, own) = (Signer::es256("e"), Signer::es256("e"));
    let (issuer, elsewhere) = (Issuer::start(&[&signer]).await, Issuer::start(&[&own]).await);
    let settings = issuer.settings().jwks_url(format!("{}/keys", issuer.url));
    issuer.set(Mood::Redirects(format!("{}/keys", elsewhere.url)));
    let verifier = settled(&settings).await;
    assert_eq!(timed(&verifier, &issuer.token(&own, "mallory")).await.0, Err(Rejection::IssuerAway));
    assert_eq!((issuer.asked(KEYS), elsewhere.asked(KEYS)), (1, 0));
}

#[tokio::test]
async fn nobody_asks_any_more_when_the_verifier_is_gone() {
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    let verifier = Arc::new(settled(&issuer.settings().refresh_every(Duration::from_millis(20))).await);
    within(Duration::from_secs(5), "keys are read again and again", async || issuer.asked(KEYS) > 3).await;
    drop(verifier);
    sleep(Duration::from_millis(200)).await;
    let asked = issuer.asked(KEYS);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(issuer.asked(KEYS), asked);
}
