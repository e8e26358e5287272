//! Opaque tokens: the issuer's verdict, how often it is asked, and who waits when it does not answer.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{FutureExt, future::join_all};
use http::StatusCode;
use serde_json::{Value, json};
use tollgate::auth::{Credentials, Rejection, Secret, Verifier, VerifierSettings};

use super::{
    issuer::{INTROSPECTION, Issuer, Mood},
    signer::{AUDIENCE, Signer, seconds},
};
use crate::support::time::{StoppedClock, ends, eventually};

fn settings(issuer: &Issuer) -> VerifierSettings {
    let client = Credentials::new("proxy", Secret::Text("s:cret".to_owned()));
    issuer.settings().introspection(format!("{}/introspect", issuer.url), Some(client))
}

async fn verifier(issuer: &Issuer) -> Verifier {
    let verifier = Verifier::start(&settings(issuer)).expect("good settings");
    verifier.settled().await;
    verifier
}

async fn verdict(verifier: &Verifier, token: &str) -> Result<String, Rejection> {
    verifier.verify(token).await.map(|caller| caller.subject().to_owned())
}

fn active(changes: Value) -> Value {
    let mut said = json!({"active": true, "sub": "alice", "aud": AUDIENCE, "exp": seconds() + 600});
    for (name, value) in changes.as_object().expect("a map") {
        said[name] = value.clone();
    }
    said
}

#[tokio::test]
async fn an_active_token_is_its_subject_s_and_asked_about_once() {
    let issuer = Issuer::start(&[]).await;
    let verifier = verifier(&issuer).await;
    issuer.set_introspected("opaque+1", active(json!({})));
    let together = join_all((0..20).map(|_| verdict(&verifier, "opaque+1"))).await;
    assert!(together.iter().all(|verdict| verdict.as_deref() == Ok("alice")), "{together:?}");
    assert_eq!(verdict(&verifier, "opaque+1").await.as_deref(), Ok("alice"));
    assert_eq!(issuer.asked(INTROSPECTION), 1, "one question for all, and its answer is remembered");
    let (authorization, form) = issuer.introspections().pop().expect("it was asked");
    assert_eq!(form, "token=opaque%2B1&token_type_hint=access_token");
    assert_eq!(authorization, Some(format!("Basic {}", BASE64_STANDARD.encode("proxy:s%3Acret"))));
}

#[tokio::test]
async fn what_the_issuer_says_is_judged_like_claims() {
    let issuer = Issuer::start(&[]).await;
    let verifier = verifier(&issuer).await;
    let cases = [
        (json!({"active": false}), Err(Rejection::Inactive)),
        (active(json!({"sub": null})), Err(Rejection::NoSubject)),
        (active(json!({"sub": ""})), Err(Rejection::NoSubject)),
        (active(json!({"aud": "other"})), Err(Rejection::WrongAudience)),
        (active(json!({"aud": null})), Err(Rejection::Malformed("aud is missing"))),
        (active(json!({"iss": "https://other.test"})), Err(Rejection::WrongIssuer)),
        (active(json!({"exp": seconds() - 3600})), Err(Rejection::Expired)),
        (active(json!({"nbf": seconds() + 3600})), Err(Rejection::NotYetValid)),
        (active(json!({"iss": issuer.url, "exp": null, "aud": ["x", AUDIENCE]})), Ok("alice".to_owned())),
    ];
    for (at, (said, want)) in cases.into_iter().enumerate() {
        let token = format!("token{at}");
        issuer.set_introspected(&token, said.clone());
        for _ in 0..2 {
            assert_eq!(verdict(&verifier, &token).await, want, "{said}");
        }
        assert_eq!(issuer.asked(INTROSPECTION), at + 1, "a bad one is remembered too: {said}");
    }
    assert_eq!(verdict(&verifier, "never issued").await, Err(Rejection::Inactive));
}

#[tokio::test]
async fn signed_tokens_are_not_asked_about_and_bad_ones_not_either() {
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    let verifier = verifier(&issuer).await;
    assert_eq!(verdict(&verifier, &issuer.token(&signer, "bob")).await.as_deref(), Ok("bob"));
    assert_eq!(verdict(&verifier, &issuer.token(&Signer::es256("e"), "bob")).await, Err(Rejection::BadSignature));
    assert_eq!(issuer.asked(INTROSPECTION), 0);
    let without = Verifier::start(&issuer.settings()).expect("good settings");
    without.settled().await;
    assert!(matches!(verdict(&without, "opaque").await, Err(Rejection::Malformed(_))), "nobody can be asked");
}

#[tokio::test]
async fn a_service_that_hangs_stalls_nobody_whose_token_is_known() {
    let (clock, within) = (StoppedClock::new(), Duration::from_secs(3));
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    let verifier = Arc::new(verifier(&issuer).await);
    let at_once = |token: &str| verdict(&verifier, token).now_or_never().expect("nothing is waited for");
    issuer.set_introspected("known", active(json!({})));
    assert_eq!(verdict(&verifier, "known").await.as_deref(), Ok("alice"));
    issuer.set(Mood::Hangs);
    let strangers = {
        let verifier = Arc::clone(&verifier);
        tokio::spawn(async move {
            let tokens: Vec<_> = (0..200).map(|at| format!("unknown{at}")).collect();
            join_all(tokens.iter().map(|token| verdict(&verifier, token))).await
        })
    };
    eventually("as many questions as there may be", async || issuer.asked(INTROSPECTION) == 1 + 64).await;
    assert_eq!(at_once("known").as_deref(), Ok("alice"));
    assert_eq!(at_once(&issuer.token(&signer, "bob")).as_deref(), Ok("bob"));
    clock.pass(within).await;
    let strangers = ends("all strangers, who wait once and not one after the other", strangers).await.expect("no panic");
    assert!(strangers.iter().all(|verdict| *verdict == Err(Rejection::IntrospectionAway)), "{strangers:?}");
    assert_eq!(issuer.asked(INTROSPECTION), 1 + 64);
    assert_eq!(at_once("another"), Err(Rejection::IntrospectionAway), "it rests");
    issuer.set(Mood::Answers);
    issuer.set_introspected("another", active(json!({"sub": "carol"})));
    clock.pass(Duration::from_secs(1)).await;
    assert_eq!(ends("an answer", verdict(&verifier, "another")).await.as_deref(), Ok("carol"));
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_no_verdict() {
    for mood in [
        Mood::Status(StatusCode::UNAUTHORIZED),
        Mood::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Mood::Away,
        Mood::Redirects("http://127.0.0.1:1/".to_owned()),
    ] {
        let issuer = Issuer::start(&[]).await;
        let verifier = verifier(&issuer).await;
        issuer.set_introspected("token", active(json!({})));
        issuer.set(mood.clone());
        assert_eq!(verdict(&verifier, "token").await, Err(Rejection::IntrospectionAway), "{mood:?}");
    }
    for said in [json!({}), json!([]), json!({"active": "true"}), json!({"active": 1}), json!({"active": true, "sub": "a", "exp": "soon"})]
    {
        let issuer = Issuer::start(&[]).await;
        let verifier = verifier(&issuer).await;
        issuer.set_introspected("token", said.clone());
        assert_eq!(verdict(&verifier, "token").await, Err(Rejection::IntrospectionAway), "{said}");
    }
}

#[tokio::test]
async fn the_client_s_secret_may_be_in_a_file_and_is_read_anew() {
    let (issuer, folder) = (Issuer::start(&[]).await, tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("secret");
    let client = Credentials::new("proxy", Secret::File(path.clone()));
    let verifier =
        Verifier::start(&issuer.settings().introspection(format!("{}/introspect", issuer.url), Some(client))).expect("good settings");
    for (at, secret) in ["first\n", "second"].iter().enumerate() {
        std::fs::write(&path, secret).expect("written");
        issuer.set_introspected(&format!("token{at}"), active(json!({})));
        assert_eq!(verdict(&verifier, &format!("token{at}")).await.as_deref(), Ok("alice"));
        let (authorization, _) = issuer.introspections().pop().expect("it was asked");
        assert_eq!(authorization, Some(format!("Basic {}", BASE64_STANDARD.encode(format!("proxy:{}", secret.trim_end())))));
    }
    std::fs::remove_file(&path).expect("it was there");
    assert_eq!(verdict(&verifier, "token9").await, Err(Rejection::IntrospectionAway));
    assert!(!format!("{:?}", settings(&issuer)).contains("s:cret"));
}
