//! An issuer over real HTTP that behaves as a test sets it, and counts requests.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;
use tollgate::auth::{Verifier, VerifierSettings};

use super::signer::{AUDIENCE, Signer, key_set};

/// What the issuer does when it is asked for something.
#[derive(Clone, Debug)]
pub enum Mood {
    Answers,
    /// After this long.
    Slow(Duration),
    /// It takes the request and says nothing.
    Hangs,
    /// It closes the connection.
    Away,
    Status(StatusCode),
    Redirects(String),
    /// This instead of the keys, with status 200.
    Says(Bytes),
}

pub const OPENID: &str = "/realm/.well-known/openid-configuration";
pub const OAUTH: &str = "/.well-known/oauth-authorization-server/realm";
pub const KEYS: &str = "/realm/keys";
pub const INTROSPECTION: &str = "/realm/introspect";

/// A running issuer. It ends with the test.
pub struct Issuer {
    pub url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
    /// The CA, when it speaks TLS.
    pub ca_pem: Option<String>,
}

struct State {
    url: String,
    mood: Mutex<Mood>,
    keys: Mutex<Value>,
    /// Which discovery document there is, and what it says.
    documents: Mutex<Vec<(&'static str, Value)>>,
    /// What was asked for, and with which token.
    asked: Mutex<Vec<(String, Option<String>)>>,
    /// What is said of tokens; of all others, that they are not active.
    introspected: Mutex<HashMap<String, Value>>,
    /// Who asked about a token, and in which words.
    introspections: Mutex<Vec<(Option<String>, String)>>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    /// On a port of its own, with these keys.
    pub async fn start(signers: &[&Signer]) -> Self {
        Self::start_on(0, signers).await
    }

    pub async fn start_on(port: u16, signers: &[&Signer]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let url = format!("http://{}/realm", listener.local_addr().expect("bound"));
        let state = State::new(&url, signers);
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { url, state, task, ca_pem: None }
    }

    /// Over TLS, with a certificate that only its own CA vouches for.
    pub async fn start_tls(signers: &[&Signer]) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("PKCS#8");
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let config = builder.with_single_cert(vec![CertificateDer::from(made.cert.der().to_vec())], key).expect("a pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://localhost:{}/realm", listener.local_addr().expect("bound").port());
        let state = State::new(&url, signers);
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let (acceptor, serving) = (acceptor.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, serving).await;
                    }
                });
            }
        });
        Self { url, state, task, ca_pem: Some(made.cert.pem()) }
    }

    pub fn set(&self, mood: Mood) {
        *self.state.mood.lock().expect("whole") = mood;
    }

    pub fn set_keys(&self, keys: Value) {
        *self.state.keys.lock().expect("whole") = keys;
    }

    pub fn set_documents(&self, documents: Vec<(&'static str, Value)>) {
        *self.state.documents.lock().expect("whole") = documents;
    }

    /// What is said of a token without letters that a form would encode, but for a plus sign.
    pub fn set_introspected(&self, token: &str, said: Value) {
        self.state.introspected.lock().expect("whole").insert(token.replace('+', "%2B"), said);
    }

    /// Who asked about tokens, and in which words.
    pub fn introspections(&self) -> Vec<(Option<String>, String)> {
        self.state.introspections.lock().expect("whole").clone()
    }

    /// How often something was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.state.asked.lock().expect("whole").iter().filter(|(asked, _)| asked == path).count()
    }

    /// The tokens that were shown for the keys.
    pub fn tokens(&self) -> Vec<Option<String>> {
        self.tokens_at(KEYS)
    }

    /// The tokens that were shown there.
    pub fn tokens_at(&self, path: &str) -> Vec<Option<String>> {
        let asked = self.state.asked.lock().expect("whole");
        asked.iter().filter(|(asked, _)| asked == path).map(|(_, token)| token.clone()).collect()
    }

    /// Trusts this issuer, found by discovery.
    pub fn settings(&self) -> VerifierSettings {
        let settings = VerifierSettings::new(&self.url, AUDIENCE);
        match &self.ca_pem {
            Some(ca) => settings.ca_pem(ca.as_bytes()),
            None => settings,
        }
    }

    /// A token of this issuer.
    pub fn token(&self, signer: &Signer, subject: &str) -> String {
        signer.token(&super::signer::with(json!({"iss": self.url, "sub": subject})))
    }
}

impl State {
    fn new(url: &str, signers: &[&Signer]) -> Arc<Self> {
        let document = json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "token_endpoint": "x"});
        Arc::new(Self {
            url: url.to_owned(),
            mood: Mutex::new(Mood::Answers),
            keys: Mutex::new(key_set(signers)),
            documents: Mutex::new(vec![(OPENID, document)]),
            asked: Mutex::default(),
            introspected: Mutex::default(),
            introspections: Mutex::default(),
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let token = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().expect("ASCII").to_owned());
        self.asked.lock().expect("whole").push((path.clone(), token.clone()));
        let mood = self.mood.lock().expect("whole").clone();
        let with = |status: StatusCode, body: Bytes| Response::builder().status(status).body(Full::new(body)).expect("an answer");
        match mood {
            Mood::Hangs => std::future::pending::<()>().await,
            Mood::Slow(wait) => sleep(wait).await,
            Mood::Status(status) => return with(status, Bytes::from("{}")),
            Mood::Redirects(to) => {
                return Response::builder().status(302).header(header::LOCATION, to).body(Full::default()).expect("an answer");
            }
            Mood::Says(body) if path == KEYS => return with(StatusCode::OK, body),
            Mood::Answers | Mood::Away | Mood::Says(_) => {}
        }
        if path == INTROSPECTION {
            let body = request.into_body().collect().await.expect("a whole form").to_bytes();
            let form = String::from_utf8(body.to_vec()).expect("a form");
            let asked = form.split(['=', '&']).nth(1).expect("a token").to_owned();
            self.introspections.lock().expect("whole").push((token, form));
            let said = self.introspected.lock().expect("whole").get(&asked).cloned().unwrap_or(json!({"active": false}));
            return with(StatusCode::OK, Bytes::from(said.to_string()));
        }
        let keys = self.keys.lock().expect("whole").to_string();
        let documents = self.documents.lock().expect("whole").clone();
        match documents.into_iter().find(|(at, _)| *at == path) {
            Some((_, document)) => with(StatusCode::OK, Bytes::from(document.to_string())),
            None if path == KEYS => with(StatusCode::OK, Bytes::from(keys)),
            None => with(StatusCode::NOT_FOUND, Bytes::from(format!("nothing at {path} of {}", self.url))),
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    if matches!(*state.mood.lock().expect("whole"), Mood::Away) {
        return;
    }
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(state.answer(request).await) }
    });
    // Clients may leave when they like.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A verifier whose keys are in a file, which goes with the folder.
pub fn from_file(signers: &[&Signer]) -> (Verifier, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jwks.json");
    fs::write(&path, key_set(signers).to_string()).expect("written");
    let settings = VerifierSettings::new(super::signer::ISSUER, AUDIENCE).or_audience("mcp").jwks_file(path);
    (Verifier::start(&settings).expect("good settings"), folder)
}
