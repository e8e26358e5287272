//! Discovery: which document is read, and what it must say.

use serde_json::{Value, json};
use tollgate::auth::{Rejection, Verifier};

use super::{
    issuer::{Issuer, KEYS, OAUTH, OPENID},
    signer::Signer,
};

async fn verdict(issuer: &Issuer, signer: &Signer) -> Result<String, Rejection> {
    let verifier = Verifier::start(&issuer.settings()).expect("good settings");
    verifier.settled().await;
    verifier.verify(&issuer.token(signer, "alice")).await.map(|caller| caller.subject().to_owned())
}

fn document(issuer: &Issuer) -> Value {
    json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url)})
}

#[tokio::test]
async fn keys_are_found_through_either_document() {
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    assert_eq!(verdict(&issuer, &signer).await.as_deref(), Ok("alice"));
    assert_eq!((issuer.asked(OPENID), issuer.asked(OAUTH), issuer.asked(KEYS)), (1, 0, 1));
    issuer.set_documents(vec![(OAUTH, document(&issuer))]);
    assert_eq!(verdict(&issuer, &signer).await.as_deref(), Ok("alice"));
    assert_eq!((issuer.asked(OPENID), issuer.asked(OAUTH), issuer.asked(KEYS)), (2, 1, 2));
}

#[tokio::test]
async fn a_document_about_another_issuer_is_not_believed() {
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    for said in [format!("{}/", issuer.url), issuer.url.to_uppercase(), "https://other.test".to_owned(), String::new()] {
        let mut other = document(&issuer);
        other["issuer"] = json!(said);
        // The second document would do; but somebody who answers for another issuer is not asked again.
        issuer.set_documents(vec![(OPENID, other), (OAUTH, document(&issuer))]);
        assert_eq!(verdict(&issuer, &signer).await, Err(Rejection::IssuerAway), "{said}");
    }
    assert_eq!((issuer.asked(OAUTH), issuer.asked(KEYS)), (0, 0));
}

#[tokio::test]
async fn a_document_has_to_lead_to_keys_over_a_connection_that_may_be_trusted() {
    let signer = Signer::es256("e");
    let issuer = Issuer::start(&[&signer]).await;
    for jwks_uri in [json!("http://192.0.2.1/keys"), json!("ftp://127.0.0.1/keys"), json!("/keys"), json!(""), json!(7), json!(null)] {
        let mut changed = document(&issuer);
        changed["jwks_uri"] = jwks_uri.clone();
        issuer.set_documents(vec![(OPENID, changed)]);
        assert_eq!(verdict(&issuer, &signer).await, Err(Rejection::IssuerAway), "{jwks_uri}");
    }
    assert_eq!(issuer.asked(KEYS), 0);
}

#[tokio::test]
async fn an_issuer_over_tls_is_judged_by_its_ca() {
    let signer = Signer::es256("e");
    let issuer = Issuer::start_tls(&[&signer]).await;
    assert_eq!(verdict(&issuer, &signer).await.as_deref(), Ok("alice"));
    // Keys of an issuer over TLS do not come over plain HTTP, not even from this host.
    let plain = Issuer::start(&[&signer]).await;
    let mut downgraded = document(&issuer);
    downgraded["jwks_uri"] = json!(format!("{}/keys", plain.url));
    issuer.set_documents(vec![(OPENID, downgraded)]);
    assert_eq!(verdict(&issuer, &signer).await, Err(Rejection::IssuerAway));
    assert_eq!(plain.asked(KEYS), 0);
    // A CA that did not sign its certificate.
    let other = Issuer::start_tls(&[&signer]).await;
    let settings = other.settings().ca_pem(issuer.ca_pem.as_deref().expect("it has one"));
    let verifier = Verifier::start(&settings).expect("good settings");
    verifier.settled().await;
    assert_eq!(verifier.verify(&other.token(&signer, "alice")).await, Err(Rejection::IssuerAway));
    assert_eq!(other.asked(OPENID), 0);
}
