//! Who is calling, by mode, token, header and peer.

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use tollgate::auth::{Auth, AuthMode, PeerIdentity, Rejection, UserHeader};

use super::{issuer::from_file, signer::Signer};

const NEAR: PeerIdentity<'static> = PeerIdentity { ip: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), certificate_names: &[] };
const FAR: PeerIdentity<'static> = PeerIdentity { ip: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), certificate_names: &[] };
const USER: HeaderName = HeaderName::from_static("x-user");

fn headers(token: Option<&str>, users: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().expect("a value"));
    }
    for user in users {
        headers.append(USER, HeaderValue::from_bytes(user).expect("a value"));
    }
    headers
}

fn user_header(from: &[&str]) -> Option<UserHeader> {
    Some(UserHeader { name: USER, from: from.iter().copied().collect() })
}

async fn caller(auth: &Auth, headers: &HeaderMap, peer: PeerIdentity<'_>) -> Result<Option<String>, Rejection> {
    Ok(auth.caller(headers, peer).await?.map(|caller| caller.subject().to_owned()))
}

#[tokio::test]
async fn the_modes_differ_in_whom_they_let_in() {
    let signer = Signer::es256("e");
    let (verifier, _folder) = from_file(&[&signer]);
    let (good, bad) = (signer.token_of("alice"), Signer::es256("x").token_of("alice"));
    let alice = || Ok(Some("alice".to_owned()));
    for (mode, without, with_good, with_bad) in [
        (AuthMode::Required, Err(Rejection::Missing), alice(), Err(Rejection::UnknownKey)),
        (AuthMode::Optional, Ok(None), alice(), Err(Rejection::UnknownKey)),
        (AuthMode::None, Ok(None), Ok(None), Ok(None)),
    ] {
        let auth = Auth::new(mode, Some(verifier.clone()), None).expect("possible");
        assert_eq!(caller(&auth, &headers(None, &[b"mallory"]), NEAR).await, without, "{}", mode.name());
        assert_eq!(caller(&auth, &headers(Some(&good), &[]), FAR).await, with_good, "{}", mode.name());
        assert_eq!(caller(&auth, &headers(Some(&bad), &[]), NEAR).await, with_bad, "{}", mode.name());
        let empty = caller(&auth, &headers(Some(""), &[]), FAR).await;
        let want =
            if mode == AuthMode::None { Ok(None) } else { Err(Rejection::Malformed("it does not have three parts separated by dots")) };
        assert_eq!(empty, want, "{}", mode.name());
    }
}

#[tokio::test]
async fn a_user_header_counts_from_trusted_peers_only() {
    let signer = Signer::es256("e");
    let (verifier, _folder) = from_file(&[&signer]);
    let token = signer.token_of("alice");
    let (gateway, intern) = (["gateway".to_owned()], ["intern".to_owned()]);
    let known = PeerIdentity { certificate_names: &gateway, ..FAR };
    for mode in [AuthMode::Required, AuthMode::Optional, AuthMode::None] {
        let auth = Auth::new(mode, Some(verifier.clone()), user_header(&["loopback", "gateway"])).expect("possible");
        for peer in [NEAR, known] {
            assert_eq!(caller(&auth, &headers(None, &[b"bob"]), peer).await, Ok(Some("bob".to_owned())), "{}", mode.name());
            assert_eq!(caller(&auth, &headers(Some(&token), &[b"bob"]), peer).await, Ok(Some("bob".to_owned())), "{}", mode.name());
        }
        let by_token = if mode == AuthMode::None { Ok(None) } else { Ok(Some("alice".to_owned())) };
        assert_eq!(caller(&auth, &headers(Some(&token), &[b"bob"]), FAR).await, by_token, "{}", mode.name());
        assert_eq!(caller(&auth, &headers(Some(&token), &[b""]), NEAR).await, by_token, "{}", mode.name());
        let other = PeerIdentity { certificate_names: &intern, ..FAR };
        assert_eq!(caller(&auth, &headers(Some(&token), &[b"bob"]), other).await, by_token, "{}", mode.name());
        let unnamed = Auth::new(mode, Some(verifier.clone()), user_header(&[])).expect("possible");
        assert_eq!(caller(&unnamed, &headers(Some(&token), &[b"bob"]), NEAR).await, by_token, "{}", mode.name());
        let nobody = if mode == AuthMode::Required { Err(Rejection::Missing) } else { Ok(None) };
        assert_eq!(caller(&auth, &headers(None, &[b"bob"]), FAR).await, nobody, "{}", mode.name());
    }
    let auth = Auth::new(AuthMode::Required, None, user_header(&["loopback"])).expect("possible");
    assert_eq!(caller(&auth, &headers(Some(&token), &[]), NEAR).await, Err(Rejection::Missing), "nobody verifies tokens");
    let bob = auth.caller(&headers(None, &["bøb".as_bytes()]), NEAR).await.expect("let in").expect("known");
    assert_eq!((bob.subject(), bob.issuer()), ("bøb", None));
}

#[tokio::test]
async fn who_says_two_things_is_not_believed() {
    let signer = Signer::es256("e");
    let (verifier, _folder) = from_file(&[&signer]);
    let auth = Auth::new(AuthMode::Optional, Some(verifier), user_header(&["loopback"])).expect("possible");
    assert_eq!(caller(&auth, &headers(None, &[b"bob", b"alice"]), NEAR).await, Err(Rejection::Ambiguous));
    assert_eq!(caller(&auth, &headers(None, &[b"bob", b"alice"]), FAR).await, Ok(None), "it is as if it were not there");
    assert_eq!(caller(&auth, &headers(None, &[b"\xff"]), NEAR).await, Err(Rejection::UserHeader));
    let mut twice = headers(Some(&signer.token_of("alice")), &[]);
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert_eq!(caller(&auth, &twice, FAR).await, Err(Rejection::Ambiguous));
}
