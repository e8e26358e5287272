//! Certificates from files: every form of key, chains, rotation under running connections, bad pairs, and certificates of clients.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn};
use hyper_util::rt::TokioIo;
use rcgen::SubjectPublicKeyInfo;
use rustls::{
    SupportedProtocolVersion,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tollgate::server::tls::{Files, Refreshed, ServerCertificate};

use crate::{
    lifecycle::refusal,
    support::{
        ca::Ca,
        https::{Client, get, post},
        serve::{Serve, wait_until},
        time::eventually,
    },
    webhook_https::{assert_serves, good_review, sample},
};

const FILES: [&str; 4] = ["--tls-cert", "tls.crt", "--tls-key", "tls.key"];

/// A folder with a pair to serve.
fn folder_with(cert: &str, key: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("tls.crt"), cert).expect("written");
    fs::write(folder.path().join("tls.key"), key).expect("written");
    folder
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// The chain that a server shows.
async fn served(client: &Client) -> Vec<CertificateDer<'static>> {
    let stream = client.connect().await.expect("a handshake");
    stream.get_ref().1.peer_certificates().expect("a chain").to_vec()
}

/// What `openssl` makes of its arguments: a key, PEM.
fn openssl(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("openssl").current_dir(folder).args(args).output().expect("openssl has to be installed: it makes the keys");
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("PEM")
}

#[tokio::test]
async fn every_form_of_key_is_served() {
    let ca = Ca::root("root");
    for (begins, args) in [
        ("-----BEGIN PRIVATE KEY-----", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"].as_slice()),
        ("-----BEGIN PRIVATE KEY-----", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("-----BEGIN PRIVATE KEY-----", &["genpkey", "-algorithm", "ED25519"]),
        ("-----BEGIN PRIVATE KEY-----", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ("-----BEGIN RSA PRIVATE KEY-----", &["genrsa", "-traditional", "2048"]),
        ("-----BEGIN EC PRIVATE KEY-----", &["ecparam", "-name", "prime256v1", "-genkey", "-noout"]),
        ("-----BEGIN EC PARAMETERS-----", &["ecparam", "-name", "prime256v1", "-genkey"]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let key = openssl(folder.path(), args);
        assert!(key.starts_with(begins), "{args:?} made another form: {}", key.lines().next().unwrap_or_default());
        fs::write(folder.path().join("tls.key"), &key).expect("written");
        let public = openssl(folder.path(), &["pkey", "-in", "tls.key", "-pubout"]);
        let cert = ca.certify(&SubjectPublicKeyInfo::from_pem(&public).expect("a public key"));
        fs::write(folder.path().join("tls.crt"), &cert).expect("written");
        let server = Serve::start_in(folder, &FILES);
        let client = Client::new(server.address, &ca.pem);
        assert_eq!(served(&client).await, [der(&cert)], "{args:?}");
        assert_serves(&client).await;
    }
}

#[tokio::test]
async fn a_chain_is_served_whole() {
    let root = Ca::root("root");
    let intermediate = root.intermediate("intermediate");
    let (cert, key) = intermediate.pair();
    let server = Serve::start_in(folder_with(&format!("{cert}{}", intermediate.pem), &key), &FILES);
    let client = Client::new(server.address, &root.pem);
    assert_eq!(served(&client).await, [der(&cert), der(&intermediate.pem)]);
    assert_serves(&client).await;
}

/// A folder as kubelet mounts a Secret: files are links through `..data`, which is a link to the folder that counts.
struct Mount<'a> {
    folder: &'a Path,
    swaps: u32,
}

impl<'a> Mount<'a> {
    fn new(folder: &'a Path, pair: (&str, &str)) -> Self {
        let mut mount = Self { folder, swaps: 0 };
        mount.swap(pair);
        for file in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(file), folder.join(file)).expect("a link");
        }
        mount
    }

    /// New contents, in one step.
    fn swap(&mut self, (cert, key): (&str, &str)) {
        let old = fs::read_link(self.folder.join("..data")).ok();
        self.swaps += 1;
        let new = format!("..2026_01_01_{}", self.swaps);
        fs::create_dir(self.folder.join(&new)).expect("a folder");
        fs::write(self.folder.join(&new).join("tls.crt"), cert).expect("written");
        fs::write(self.folder.join(&new).join("tls.key"), key).expect("written");
        symlink(&new, self.folder.join("..data_tmp")).expect("a link");
        fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data")).expect("swapped");
        if let Some(old) = old {
            fs::remove_dir_all(self.folder.join(old)).expect("removed");
        }
    }
}

/// Waits until new handshakes are shown a certificate.
async fn wait_until_served(client: &Client, cert: &str) {
    let wanted = der(cert);
    eventually("the new certificate", async || served(client).await.first() == Some(&wanted)).await;
}

#[tokio::test]
async fn each_rotation_is_served_while_old_connections_go_on() {
    let ca = Ca::root("root");
    let (cert, key) = ca.pair();
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = folder.path().to_owned();
    let mut mount = Mount::new(&mounted, (&cert, &key));
    let server = Serve::start_in(folder, &FILES);
    let client = Client::new(server.address, &ca.pem);
    let stream = client.connect().await.expect("a handshake");
    let (mut old, connection) = conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    server.wait_for_log("ready: the TLS port answers");
    for _ in 0..3 {
        let (cert, key) = ca.pair();
        mount.swap((&cert, &key));
        wait_until_served(&client, &cert).await;
        assert_serves(&client).await;
        let answer = old.send_request(post("/validate", good_review())).await.expect("the old connection goes on");
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.expect("a whole answer");
        assert_eq!(get(server.metrics, "/readyz").await.status, 200, "{}", server.log());
    }
    wait_until("three lines of three rotations", || server.log().matches("certificates replaced").count() == 3);
}

#[tokio::test]
async fn garbage_keeps_the_old_pair() {
    let ca = Ca::root("root");
    let (cert, key) = ca.pair();
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = folder.path().to_owned();
    let mut mount = Mount::new(&mounted, (&cert, &key));
    let server = Serve::start_in(folder, &FILES);
    let client = Client::new(server.address, &ca.pem);
    mount.swap(("garbage", "garbage"));
    let warning = "the certificates changed and cannot be used; the old ones stay in use";
    server.wait_for_log(warning);
    server.wait_for_log("tls.crt holds no certificate (BEGIN CERTIFICATE)");
    assert_eq!(served(&client).await, [der(&cert)]);
    assert_serves(&client).await;
    let (cert, key) = ca.pair();
    mount.swap((&cert, &key));
    wait_until_served(&client, &cert).await;
    assert_serves(&client).await;
}

#[test]
fn each_change_is_told_once() {
    let ca = Ca::root("root");
    let (cert, key) = ca.pair();
    let folder = tempfile::tempdir().expect("a folder");
    let mut mount = Mount::new(folder.path(), (&cert, &key));
    let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let certificate = ServerCertificate::open(Files { cert, key, client_ca: None, client_names: Vec::new() }).expect("a good pair");
    let leaf = certificate.leaf();
    let look_thrice = || {
        let first = certificate.refresh();
        for _ in 0..2 {
            assert!(matches!(certificate.refresh(), Refreshed::Unchanged), "after {first:?}");
        }
        first
    };
    let (expired, early) = (ca.pair_valid(-2 * DAY, -DAY), ca.pair_valid(DAY, 2 * DAY));
    for ((cert, key), why) in [
        (("garbage".to_owned(), "garbage".to_owned()), "tls.crt holds no certificate (BEGIN CERTIFICATE)"),
        (expired, "tls.crt is not usable: it expired at "),
        (early, "tls.crt is not usable: it is not valid before "),
    ] {
        mount.swap((&cert, &key));
        let Refreshed::Kept(error) = look_thrice() else { panic!("it is taken, or not seen: {why}") };
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(certificate.leaf(), leaf);
    }
    let (cert, key) = ca.pair();
    mount.swap((&cert, &key));
    assert!(matches!(look_thrice(), Refreshed::Replaced));
    assert_eq!(certificate.leaf(), der(&cert));
}

const DAY: i64 = 24 * 60 * 60;

/// Waits for readiness, or its end, and gives what it says.
async fn wait_for_readiness(server: &Serve, status: u16) -> String {
    wait_for_readiness_that_says(server, status, "").await
}

async fn wait_for_readiness_that_says(server: &Serve, status: u16, text: &str) -> String {
    let mut said = String::new();
    eventually(&format!("readiness with {status} and {text:?}"), async || {
        let answer = get(server.metrics, "/readyz").await;
        said = answer.text();
        answer.status == status && said.contains(text)
    })
    .await;
    said
}

async fn valid_metric(server: &Serve) -> Option<f64> {
    sample(&get(server.metrics, "/metrics").await.text(), "tollgate_certificate_valid")
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_never_ready_and_says_so() {
    let ca = Ca::root("root");
    for (from, until, why) in [(-2 * DAY, -DAY, "it expired at "), (DAY, 2 * DAY, "it is not valid before ")] {
        let (cert, key) = ca.pair_valid(from, until);
        let server = Serve::start_in(folder_with(&cert, &key), &FILES);
        server.wait_for_log(&format!("the certificate in use is not valid; clients will refuse it error=tls.crt is not usable: {why}"));
        wait_for_readiness_that_says(&server, 503, &format!("[-] answers TLS on its own port: tls.crt is not usable: {why}")).await;
        assert_eq!(valid_metric(&server).await, Some(0.0));
        // A good pair ends that.
        let (cert, key) = ca.pair();
        fs::write(server.folder.path().join("tls.key"), &key).expect("written");
        fs::write(server.folder.path().join("tls.crt"), &cert).expect("written");
        wait_for_readiness(&server, 200).await;
        server.wait_for_log("the certificate in use is valid");
        assert_eq!(valid_metric(&server).await, Some(1.0));
        assert_serves(&Client::new(server.address, &ca.pem)).await;
    }
}

#[tokio::test]
async fn a_certificate_that_expires_in_use_ends_readiness() {
    let ca = Ca::root("root");
    let (cert, key) = ca.pair_valid(-DAY, 12);
    let server = Serve::start_in(folder_with(&cert, &key), &FILES);
    wait_for_readiness(&server, 200).await;
    assert_eq!(valid_metric(&server).await, Some(1.0));
    let said = wait_for_readiness(&server, 503).await;
    assert!(said.contains("[-] answers TLS on its own port: tls.crt is not usable: it expired at "), "{said}");
    server.wait_for_log("the certificate in use is not valid; clients will refuse it");
}

#[tokio::test]
async fn a_rotation_to_a_worse_certificate_keeps_the_better() {
    let ca = Ca::root("root");
    let (cert, key) = ca.pair();
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = folder.path().to_owned();
    let mut mount = Mount::new(&mounted, (&cert, &key));
    let server = Serve::start_in(folder, &FILES);
    let client = Client::new(server.address, &ca.pem);
    wait_for_readiness(&server, 200).await;
    let kept = "the certificates changed and cannot be used; the old ones stay in use error=tls.crt is not usable: ";
    for (from, until, why) in [(-2 * DAY, -DAY, "it expired at "), (DAY, 2 * DAY, "it is not valid before ")] {
        let (cert, key) = ca.pair_valid(from, until);
        mount.swap((&cert, &key));
        server.wait_for_log(&format!("{kept}{why}"));
    }
    assert_eq!(served(&client).await, [der(&cert)]);
    assert_serves(&client).await;
    wait_for_readiness(&server, 200).await;
    // One that is not valid yet is used as soon as it is, though the files do not change any more.
    let (cert, key) = ca.pair_valid(8, DAY);
    mount.swap((&cert, &key));
    wait_until_served(&client, &cert).await;
    wait_until("the replacement is logged", || server.log().matches("certificates replaced").count() == 1);
    assert_serves(&client).await;
}

#[test]
fn keys_and_certificates_that_no_client_takes_are_named() {
    let ca = Ca::root("root");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| fs::read_to_string(folder.path().join(name)).expect("written by openssl");
    let self_signed = |algorithm: &[&str]| {
        let request = ["req", "-x509", "-nodes", "-days", "9", "-subj", "/CN=localhost", "-keyout", "made.key", "-out", "made.crt"];
        openssl(folder.path(), &[request.as_slice(), algorithm].concat());
        (at("made.crt"), at("made.key"))
    };
    let supported = "use P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits";
    for (algorithm, what) in [
        (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"].as_slice(), "on the curve P-521"),
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "on the curve secp256k1"),
        (&["-newkey", "rsa:1024"], "RSA of 1024 bits"),
        (&["-newkey", "ed448"], "Ed448"),
    ] {
        let (cert, key) = self_signed(algorithm);
        let stderr = refusal(&folder_with(&cert, &key), &FILES);
        assert!(stderr.contains(&format!("error: tls.crt is not usable: its key is {what}; {supported}")), "{stderr}");
    }
    // The key's file alone.
    let (_, key) = self_signed(&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"]);
    let (cert, good_key) = ca.pair();
    let stderr = refusal(&folder_with(&cert, &key), &FILES);
    assert!(stderr.contains(&format!("error: tls.key is not usable: it is a key on the curve P-521; {supported}")), "{stderr}");
    // Encrypted, in both forms.
    for (args, begins) in [
        (["pkcs8", "-topk8", "-in", "plain.key", "-passout", "pass:secret"].as_slice(), "-----BEGIN ENCRYPTED PRIVATE KEY-----"),
        (&["ec", "-aes256", "-in", "plain.key", "-passout", "pass:secret"], "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED"),
    ] {
        fs::write(folder.path().join("plain.key"), &good_key).expect("written");
        let key = openssl(folder.path(), args);
        assert!(key.starts_with(begins), "{args:?} made another form: {}", key.lines().next().unwrap_or_default());
        let stderr = refusal(&folder_with(&cert, &key), &FILES);
        assert!(stderr.contains("error: tls.key holds no unencrypted private key (BEGIN PRIVATE KEY): it is encrypted; "), "{stderr}");
    }
    // Version 1 has no extensions.
    openssl(folder.path(), &["req", "-new", "-key", "plain.key", "-subj", "/CN=localhost", "-out", "request"]);
    let version_1 = openssl(folder.path(), &["x509", "-req", "-in", "request", "-signkey", "plain.key", "-days", "9"]);
    let stderr = refusal(&folder_with(&version_1, &good_key), &FILES);
    assert!(stderr.contains("error: tls.crt is not usable: it is an X.509 v1 certificate"), "{stderr}");
}

#[test]
fn a_pair_that_cannot_be_served_is_a_failed_start_that_says_why() {
    let ca = Ca::root("root");
    let ((cert, key), (_, other_key)) = (ca.pair(), ca.pair());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIH0\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (cert, key, text) in [
        (cert.as_str(), other_key.as_str(), "the key in tls.key does not belong to the certificate in tls.crt"),
        (&cert, &cert, "tls.key holds no unencrypted private key (BEGIN PRIVATE KEY)"),
        (&cert, encrypted, "tls.key holds no unencrypted private key (BEGIN PRIVATE KEY)"),
        (&cert, "", "tls.key holds no unencrypted private key (BEGIN PRIVATE KEY)"),
        ("", &key, "tls.crt holds no certificate (BEGIN CERTIFICATE)"),
        (&key, &key, "tls.crt holds no certificate (BEGIN CERTIFICATE)"),
        ("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", &key, "tls.crt is not usable: "),
        ("-----BEGIN CERTIFICATE-----\nMIH0\n-----END CERTIFICATE-----\n", &key, "tls.crt is not usable: "),
    ] {
        let stderr = refusal(&folder_with(cert, key), &FILES);
        assert!(stderr.contains(&format!("error: {text}")), "{stderr}");
    }
}

#[test]
fn files_that_cannot_be_read_are_a_failed_start_that_names_them() {
    let ca = Ca::root("root");
    let (cert, key) = ca.pair();
    let folder = folder_with(&cert, &key);
    fs::create_dir(folder.path().join("folder")).expect("made");
    for (args, text) in [
        (["--tls-cert", "tls.crt", "--tls-key", "none.key"].as_slice(), "cannot read none.key: No such file or directory"),
        (&["--tls-cert", "none.crt", "--tls-key", "tls.key"], "cannot read none.crt: No such file or directory"),
        (&["--tls-cert", "tls.crt", "--tls-key", "folder"], "cannot read folder: Is a directory"),
        (&["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--client-ca", "none"], "cannot read none: No such file or directory"),
        (&["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--client-ca", "tls.key"], "tls.key holds no certificate"),
    ] {
        let stderr = refusal(&folder, args);
        assert!(stderr.contains(&format!("error: {text}")), "{args:?}: {stderr}");
    }
}

/// How a server refuses a client: the alert that it sends.
pub async fn alert(client: &Client) -> String {
    // In TLS 1.3 the client is done before the server has seen its certificate, and hears of it when it reads.
    match client.connect().await {
        Err(error) => error.to_string(),
        Ok(mut stream) => stream.read_u8().await.expect_err("a refused client reads nothing").to_string(),
    }
}

#[tokio::test]
async fn clients_show_a_certificate_from_the_ca_with_the_name() {
    let (ca, foreign) = (Ca::root("root"), Ca::root("foreign"));
    let (cert, key) = ca.pair();
    let folder = folder_with(&cert, &key);
    fs::write(folder.path().join("clients.crt"), &ca.pem).expect("written");
    let names = ["--client-ca", "clients.crt", "--client-name", "kube-apiserver", "--client-name", "webhooks.example.com"];
    let server = Serve::start_in(folder, &[FILES.as_slice(), &names].concat());
    let client = |versions: &[&'static SupportedProtocolVersion], pair: Option<&(String, String)>| {
        let pair = pair.map(|(cert, key)| (cert.as_str(), key.as_str()));
        Client::with(server.address, &ca.pem, versions, "http/1.1", pair)
    };
    let wrong_name = ca.client_pair("somebody", &["else.example.com"]);
    let wrong_ca = foreign.client_pair("kube-apiserver", &[]);
    let by_common_name = ca.client_pair("kube-apiserver", &[]);
    let by_dns_name = ca.client_pair("somebody", &["else.example.com", "webhooks.example.com"]);
    for versions in [[&TLS13], [&TLS12]] {
        for (pair, reason) in [(None, "CertificateRequired"), (Some(&wrong_name), "AccessDenied"), (Some(&wrong_ca), "UnknownCA")] {
            let alert = alert(&client(&versions, pair)).await;
            assert!(alert.contains(reason), "{versions:?}: {alert:?} is not {reason}");
        }
        for pair in [&by_common_name, &by_dns_name] {
            assert_serves(&client(&versions, Some(pair))).await;
        }
    }
    server.wait_for_log("ready: the TLS port answers");
    assert_eq!(get(server.metrics, "/readyz").await.status, 200);
}

#[tokio::test]
async fn any_certificate_from_the_ca_will_do_when_no_name_is_asked_for() {
    let ca = Ca::root("root");
    let (cert, key) = ca.pair();
    let folder = folder_with(&cert, &key);
    fs::write(folder.path().join("clients.crt"), &ca.pem).expect("written");
    let server = Serve::start_in(folder, &[FILES.as_slice(), &["--client-ca", "clients.crt"]].concat());
    let (cert, key) = ca.client_pair("anybody", &[]);
    assert_serves(&Client::with(server.address, &ca.pem, &[&TLS13], "http/1.1", Some((&cert, &key)))).await;
    let alert = alert(&Client::new(server.address, &ca.pem)).await;
    assert!(alert.contains("CertificateRequired"), "{alert:?}");
}
