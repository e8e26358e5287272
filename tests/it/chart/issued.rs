//! The chart's mode `cert-manager` with a real cert-manager: it issues, its cainjector writes the caBundle, and no review fails while both the CA
//! and the certificate are renewed.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use tempfile::TempDir;
use x509_parser::pem::Pem;

use super::installed::{CLUSTER, bundles, serve};
use crate::{
    apiserver::doctor,
    support::{
        cert_manager::CertManager,
        load::Load,
        pages::Page,
        serve::{Serve, command, wait_until},
    },
};

const CA: &str = "tollgate-ca";
pub const LEAF: &str = "tollgate-tls";
/// What an uninstall leaves behind, as docs/webhook.md says.
pub const LEFT: [&str; 2] = ["secret/tollgate-ca", "secret/tollgate-tls"];

/// A cert-manager, and a server with the certificate that it issued.
pub struct Issued {
    cert_manager: CertManager<'static>,
    serve: Serve,
    /// The Secret, as a kubelet mounts it.
    mounted: TempDir,
}

impl Issued {
    pub fn start() -> Self {
        let (cert_manager, mounted) = (CertManager::start(&CLUSTER), tempfile::tempdir().expect("a folder"));
        cert_manager.wait_until("a certificate, and its CA in both configurations", || {
            let ca = text(&cert_manager, LEAF, "ca.crt");
            !ca.is_empty() && ca == text(&cert_manager, CA, "tls.crt") && bundles().iter().all(|bundle| certificates(bundle) == parsed(&ca))
        });
        mount(&cert_manager, mounted.path());
        let file = |name: &str| mounted.path().join(name).display().to_string();
        let serve = serve(&["--tls-cert", &file("tls.crt"), "--tls-key", &file("tls.key")]);
        Self { cert_manager, serve, mounted }
    }

    /// Creates go on while the CA is renewed, then the certificate, and then the pods read it.
    pub fn renewed_under_load(&self) {
        self.examined();
        // The machine of a test may be busy; the chart's own 3 s are for machines that serve.
        let patch = r#"[{"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 20}]"#;
        CLUSTER.kubectl(&["patch", "validatingwebhookconfiguration", "tollgate", "--type=json", "-p", patch]).expect_ok();
        let load = Load::start(CLUSTER.kubeconfig(), "default", 20);
        let answered = |what: &str| {
            let before = load.so_far().0;
            wait_until(&format!("creates after {what}"), || load.so_far().0 > before + 20);
        };
        answered("the start");
        let first = text(&self.cert_manager, CA, "tls.crt");
        self.cert_manager.renew(CA);
        answered("a new CA");
        self.cert_manager.renew(LEAF);
        let second = text(&self.cert_manager, LEAF, "ca.crt");
        assert!(second != first && second == text(&self.cert_manager, CA, "tls.crt"), "the new CA signed");
        // cainjector adds, and removes what has expired.
        let both = [parsed(&first), parsed(&second)].concat();
        self.cert_manager.wait_until("both CAs in both configurations", || bundles().iter().all(|bundle| certificates(bundle) == both));
        answered("a new certificate that is not served yet");
        mount(&self.cert_manager, self.mounted.path());
        self.serve.wait_for_log("certificates replaced");
        answered("a new certificate that is served");
        let outcome = load.stop();
        assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
        assert!(outcome.created > outcome.refused && outcome.refused > 0, "{outcome:?}");
        let page = Page::read("docs/webhook.md").text;
        assert!(LEFT.iter().all(|secret| page.contains(&format!("`{}`", secret.trim_start_matches("secret/")))), "{LEFT:?}");
    }

    /// The doctor finds the certificate in its Secret, and the CA that signed it in both configurations.
    fn examined(&self) {
        let mut doctor = command(&self.mounted);
        doctor.args(["doctor", "--output", "json", "--kubeconfig"]).arg(CLUSTER.kubeconfig());
        let said = doctor::Said::of(&doctor.output().expect("it starts"));
        let states = |check: &str| said.notes().filter(|note| note[1] == check).map(|note| note[0].to_owned()).collect::<Vec<_>>();
        for check in ["ca-bundle", "certificate", "reachable"] {
            assert!(!states(check).is_empty() && states(check).iter().all(|state| state == "ok"), "{check}: {said:?}");
        }
    }
}

fn text(cert_manager: &CertManager<'_>, secret: &str, key: &str) -> String {
    let decoded = STANDARD.decode(cert_manager.secret(secret)[key].as_str().unwrap_or_default()).expect("base64");
    String::from_utf8(decoded).expect("PEM")
}

/// The certificates of a text, however its lines are broken.
fn parsed(pem: &str) -> Vec<Vec<u8>> {
    Pem::iter_from_buffer(pem.as_bytes()).map(|pem| pem.expect("PEM").contents).collect()
}

fn certificates(bundle: &str) -> Vec<Vec<u8>> {
    parsed(&String::from_utf8(STANDARD.decode(bundle).expect("base64")).expect("PEM"))
}

fn mount(cert_manager: &CertManager<'_>, folder: &Path) {
    for name in ["tls.crt", "tls.key"] {
        let new = folder.join("new");
        fs::write(&new, text(cert_manager, LEAF, name)).expect("the folder is ours");
        fs::rename(new, folder.join(name)).expect("the folder is ours");
    }
}
