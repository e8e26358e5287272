//! Keys without discovery: from a URL, from a file; and invalid settings.

use std::{fs, path::PathBuf, time::Duration};

use futures_util::FutureExt;
use serde_json::json;
use tollgate::auth::{KeySource, Rejection, Verifier, VerifierSettings, VerifierSettingsError};

use super::{
    issuer::{Issuer, KEYS, OPENID, from_file},
    signer::{AUDIENCE, ISSUER, Signer, key_set},
};
use crate::support::time::{StoppedClock, eventually};

#[tokio::test]
async fn a_url_of_keys_needs_no_discovery() {
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    let settings = VerifierSettings::new(ISSUER, AUDIENCE).jwks_url(format!("{}/keys", issuer.url));
    let verifier = Verifier::start(&settings).expect("good settings");
    assert!(verifier.verify(&signer.token_of("alice")).await.is_ok());
    assert_eq!((issuer.asked(OPENID), issuer.asked(KEYS)), (0, 1));
}

#[tokio::test]
async fn the_token_to_read_keys_with_is_read_anew() {
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    fs::write(&path, "first\n").expect("written");
    let settings = issuer.settings().bearer_file(&path).cool_down(Duration::ZERO);
    let verifier = Verifier::start(&settings).expect("good settings");
    assert!(verifier.verify(&issuer.token(&signer, "alice")).await.is_ok());
    fs::write(&path, "second").expect("written");
    assert_eq!(verifier.verify(&issuer.token(&Signer::es256("x"), "mallory")).await, Err(Rejection::UnknownKey));
    assert_eq!(issuer.tokens(), [Some("Bearer first".to_owned()), Some("Bearer second".to_owned())]);
    // Without it nobody is asked, and what was read before stays.
    fs::write(&path, "not one\nline").expect("written");
    assert_eq!(verifier.verify(&issuer.token(&Signer::es256("x"), "mallory")).await, Err(Rejection::IssuerAway));
    assert_eq!(issuer.asked(KEYS), 2);
    assert!(verifier.verify(&issuer.token(&signer, "bob")).await.is_ok());
}

/// As with the API server of a cluster, whose document names another one of its addresses.
#[tokio::test]
async fn a_token_for_one_server_goes_to_no_other() {
    let signer = Signer::es256("e");
    let (issuer, other) = (Issuer::start_tls(&[&signer]).await, Issuer::start(&[&signer]).await);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    fs::write(&path, "secret").expect("written");
    let host = issuer.url.trim_start_matches("https://").split('/').next().expect("a host").to_owned();
    let settings = || issuer.settings().allow_http(true).bearer_file(&path).bearer_only_to(vec![host.clone()]);
    let bearer = Some("Bearer secret".to_owned());
    let cluster_keys = "/openid/v1/jwks";
    let elsewhere = other.url.replace("/realm", cluster_keys);
    for (jwks_uri, at) in [(format!("{}/keys", issuer.url), KEYS), (elsewhere.clone(), cluster_keys)] {
        let document = json!({"issuer": issuer.url, "jwks_uri": jwks_uri});
        issuer.set_documents(vec![(OPENID, document), ("/openid/v1/jwks", key_set(&[&signer]))]);
        let verifier = Verifier::start(&settings()).expect("good settings");
        assert!(verifier.verify(&issuer.token(&signer, "alice")).await.is_ok(), "{jwks_uri}");
        assert_eq!(issuer.tokens_at(at), std::slice::from_ref(&bearer), "{jwks_uri}");
    }
    assert_eq!(other.asked(cluster_keys), 0);

    issuer.set_documents(vec![(OPENID, json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", other.url)}))]);
    let verifier = Verifier::start(&settings()).expect("good settings");
    assert!(verifier.verify(&issuer.token(&signer, "alice")).await.is_ok());
    assert_eq!(other.tokens(), [None], "it is asked, without the token");

    for (settings, url) in [
        (settings().jwks_url(&elsewhere), elsewhere),
        (settings().jwks_url(format!("http://{host}/keys")), format!("http://{host}/keys")),
        (
            VerifierSettings::new("https://issuer.test", AUDIENCE).bearer_file(&path).bearer_only_to(vec![host.clone()]),
            "https://issuer.test".to_owned(),
        ),
    ] {
        let error = Verifier::start(&settings).expect_err("another server").to_string();
        assert!(error.contains(&url) && error.contains("is not the cluster's own API server"), "{error}");
    }
}

#[tokio::test]
async fn a_file_of_keys_is_followed() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let (verifier, folder) = from_file(&[&old]);
    let path = folder.path().join("jwks.json");
    assert!(verifier.verify(&old.token_of("alice")).await.is_ok());
    fs::write(&path, key_set(&[&new]).to_string()).expect("written");
    assert!(verifier.verify(&new.token_of("bob")).await.is_ok());
    assert_eq!(verifier.verify(&old.token_of("alice")).await, Err(Rejection::UnknownKey));
}

#[tokio::test]
async fn a_file_that_goes_bad_leaves_the_keys_in_use() {
    let clock = StoppedClock::new();
    let signer = Signer::es256("e");
    let (first, folder) = from_file(&[&signer]);
    drop(first);
    let path = folder.path().join("jwks.json");
    let settings = VerifierSettings::new(ISSUER, AUDIENCE).jwks_file(&path);
    let verifier = Verifier::start(&settings).expect("good settings");
    verifier.settled().await;
    fs::remove_file(&path).expect("it was there");
    clock.pass(Duration::from_secs(10)).await;
    let stranger = Signer::es256("x").token_of("mallory");
    let is_away = async || verifier.verify(&stranger).now_or_never().is_some_and(|judged| judged == Err(Rejection::IssuerAway));
    eventually("reading fails", is_away).await;
    let alice = verifier.verify(&signer.token_of("alice")).await.expect("the keys stay in use");
    assert_eq!(alice.subject(), "alice");
}

#[tokio::test]
async fn settings_that_cannot_be_used_say_what_to_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bad, missing) = (folder.path().join("bad.json"), folder.path().join("missing.json"));
    fs::write(&bad, "[]").expect("written");
    let good = || VerifierSettings::new("https://issuer.test", AUDIENCE);
    let cases = [
        (VerifierSettings::new("", AUDIENCE), "the issuer is empty: set its URL"),
        (VerifierSettings::new("https://issuer.test", ""), "the audience is empty: set the aud claim of tokens for this server"),
        (good().or_audience(""), "the audience is empty"),
        (VerifierSettings::new("issuer.test", AUDIENCE), "is not a URL to read keys from: use the form https://HOST"),
        (
            VerifierSettings::new("http://issuer.test", AUDIENCE),
            "uses plain HTTP, where anyone on the network path can substitute their own keys",
        ),
        (good().jwks_url("http://issuer.test/keys"), "uses plain HTTP"),
        (good().jwks_url("https://me:secret@issuer.test/keys").keys(KeySource::Url("keys".to_owned())), "\"keys\" is not a URL"),
        (good().jwks_file(&missing), "missing.json: No such file"),
        (good().jwks_file(&bad), "bad.json does not contain a JWK Set: the format is {\"keys\": [..]}"),
        (good().ca_pem("no PEM"), "the issuer's CA file contains no PEM certificate"),
    ];
    for (settings, says) in cases {
        let error = Verifier::start(&settings).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(Verifier::start(&VerifierSettings::new("http://issuer.test", AUDIENCE).allow_http(true)).is_ok());
    let error = Verifier::start(&good().jwks_file(PathBuf::from("/"))).expect_err("a folder");
    assert!(matches!(error, VerifierSettingsError::File { .. }), "{error}");
}
