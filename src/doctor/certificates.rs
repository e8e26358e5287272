//! The caBundle of a hook against the certificate that is served: would the API server trust it, by that name, and for how long?

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use time::{Duration, OffsetDateTime};
use x509_parser::parse_x509_certificate;

use super::{
    authority,
    hooks::{Endpoint, Hook},
    report::Notes,
    workload::Workloads,
};
use crate::{
    cluster::{Cluster, ClusterError, request::text},
    webhook::dial,
};

/// What ends sooner than this should have been renewed.
const SOON: Duration = Duration::days(14);
const RENEW: &str = "renew it: with cert-manager see `kubectl describe certificate`, else make a new one (manifests/overlays/own-ca)";
const INJECT: &str = "put the CA there: cert-manager's cainjector does it by the annotation cert-manager.io/inject-ca-from";

type Chain = Vec<CertificateDer<'static>>;

pub(super) async fn look(cluster: &Cluster, hook: &Hook, workloads: &Workloads, notes: &mut Notes) {
    let endpoint = hook.endpoint();
    if let Endpoint::Service { namespace, .. } = &endpoint
        && let Some(issuing) = workloads.get(&endpoint).and_then(|workload| workload.issuing.as_ref())
    {
        return authority::look(cluster, hook, issuing, namespace, notes).await;
    }
    let Some(roots) = ca_bundle(hook, &endpoint, notes) else { return };
    let (chain, from) = match served(cluster, &endpoint, workloads).await {
        Ok(served) => served,
        Err((says, todo)) => return notes.unknown("certificate", format!("which one {} is served with: {says}", hook.name()), todo),
    };
    let [leaf, intermediates @ ..] = chain.as_slice() else {
        return notes.problem("certificate", format!("{from} holds no certificate"), RENEW);
    };
    let before = notes.len();
    let Some(name) = name_called(&endpoint) else { return };
    look_at_name(leaf, &name, &from, notes);
    look_at_end(leaf, &from, notes);
    if !roots.contains(leaf) && !is_trusted(leaf, intermediates, &roots, &name) {
        notes.problem(
            "certificate",
            format!("{from} was not signed by a CA in caBundle of {}: the API server refuses to talk to it", hook.name()),
            INJECT,
        );
    }
    if notes.len() == before {
        notes.ok("certificate", format!("{from} is good for {} until {}", name.to_str(), end_of(leaf).map(date).unwrap_or_default()));
    }
}

/// The certificates in caBundle; `None` without anything to compare with.
fn ca_bundle(hook: &Hook, endpoint: &Endpoint, notes: &mut Notes) -> Option<Chain> {
    let encoded = text(&hook.entry, "/clientConfig/caBundle");
    let of = format!("caBundle of {}", hook.name());
    if encoded.is_empty() {
        match endpoint {
            Endpoint::Service { .. } => {
                notes.problem("ca-bundle", format!("{of} is empty: the API server trusts no certificate there"), INJECT)
            }
            Endpoint::Url(_) => notes.ok("ca-bundle", format!("{of} is empty: the API server's own roots count")),
        }
        return None;
    }
    let pem = STANDARD.decode(encoded).unwrap_or_default();
    let roots = CertificateDer::pem_slice_iter(&pem).collect::<Result<Chain, _>>().unwrap_or_default();
    // Of an old and a new CA, the newer one has to last.
    match roots.iter().filter_map(end_of).max() {
        None => notes.problem("ca-bundle", format!("{of} holds no certificate that can be read"), INJECT),
        Some(end) => look_at_date(end, &of, "ca-bundle", notes),
    }
    (!roots.is_empty()).then_some(roots)
}

/// The chain that is served, and where it was found.
async fn served(cluster: &Cluster, endpoint: &Endpoint, workloads: &Workloads) -> Result<(Chain, String), (String, String)> {
    match endpoint {
        Endpoint::Url(url) => {
            let (host, port) =
                host_and_port(url).ok_or_else(|| (format!("{url} is not an https URL"), "correct clientConfig.url".to_owned()))?;
            let shown = dial::shown_at(&host, port).await;
            shown
                .map(|chain| (chain, format!("the one at {host}:{port}")))
                .map_err(|error| (format!("{host}:{port}: {error}"), ASK_NEARER.to_owned()))
        }
        Endpoint::Service { namespace, .. } => {
            let secrets = workloads.get(endpoint).map(|workload| workload.secrets.clone()).unwrap_or_default();
            for secret in secrets {
                let read = cluster.get(&format!("/api/v1/namespaces/{namespace}/secrets/{secret}")).await;
                match read.as_ref().map(|secret| text(secret, "/data/tls.crt")) {
                    Ok("") => {}
                    Ok(encoded) => return Ok((chain_in(encoded), format!("the one in Secret {namespace}/{secret}"))),
                    Err(ClusterError::Absent(_)) => {
                        return Err((format!("Secret {namespace}/{secret} is not there, and the pods wait for it"), RENEW.to_owned()));
                    }
                    Err(trouble) => return Err((trouble.to_string(), trouble.advice(format!("grant get on secrets in {namespace}")))),
                }
            }
            Err(("no Secret with tls.crt is mounted behind the Service".to_owned(), "apply the manifests".to_owned()))
        }
    }
}

const ASK_NEARER: &str = "run doctor where the API server runs: the URL is its own to reach";

fn chain_in(encoded: &str) -> Chain {
    let pem = STANDARD.decode(encoded).unwrap_or_default();
    CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect()
}

/// The name that the API server wants to see in the certificate.
fn name_called(endpoint: &Endpoint) -> Option<ServerName<'static>> {
    let name = match endpoint {
        Endpoint::Service { namespace, name, .. } => format!("{name}.{namespace}.svc"),
        Endpoint::Url(url) => host_and_port(url)?.0,
    };
    ServerName::try_from(name).ok()
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url: http::Uri = url.parse().ok()?;
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), url.port_u16().unwrap_or(443)))
}

fn look_at_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>, from: &str, notes: &mut Notes) {
    let is_named = ParsedCertificate::try_from(leaf).and_then(|leaf| verify_server_name(&leaf, name));
    if is_named.is_err() {
        notes.problem(
            "certificate",
            format!("{from} is not for {}, the name by which the API server calls", name.to_str()),
            format!("have {} among its DNS names or IP addresses", name.to_str()),
        );
    }
}

fn look_at_end(leaf: &CertificateDer<'_>, from: &str, notes: &mut Notes) {
    match end_of(leaf) {
        None => notes.problem("certificate", format!("{from} cannot be read"), RENEW),
        Some(end) if end - OffsetDateTime::now_utc() < SOON => look_at_date(end, from, "certificate", notes),
        Some(_) => {}
    }
}

fn look_at_date(end: OffsetDateTime, of: &str, check: &'static str, notes: &mut Notes) {
    let left = end - OffsetDateTime::now_utc();
    if left.is_negative() {
        notes.problem(check, format!("{of} ended {}", date(end)), RENEW);
    } else if left < SOON {
        notes.problem(check, format!("{of} ends in {} days, {}", left.whole_days(), date(end)), RENEW);
    } else {
        notes.ok(check, format!("{of} lasts until {}", date(end)));
    }
}

/// Whether the chain leads to one of the roots; names and dates are looked at apart.
fn is_trusted(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &[CertificateDer<'static>],
    name: &ServerName<'_>,
) -> bool {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::new(ring::default_provider())).build();
    let Ok(verifier) = verifier else { return false };
    match verifier.verify_server_cert(leaf, intermediates, name, &[], UnixTime::now()) {
        Ok(_) => true,
        Err(Error::InvalidCertificate(error)) => !matches!(error, CertificateError::UnknownIssuer | CertificateError::BadSignature),
        Err(_) => true,
    }
}

fn end_of(certificate: &CertificateDer<'_>) -> Option<OffsetDateTime> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    OffsetDateTime::from_unix_timestamp(parsed.validity().not_after.timestamp()).ok()
}

fn date(time: OffsetDateTime) -> String {
    time.date().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_urls() {
        assert_eq!(host_and_port("https://127.0.0.1:8443/validate"), Some(("127.0.0.1".to_owned(), 8443)));
        assert_eq!(host_and_port("https://[::1]:8443/validate"), Some(("::1".to_owned(), 8443)));
        assert_eq!(host_and_port("https://tollgate.example.com/validate"), Some(("tollgate.example.com".to_owned(), 443)));
    }
}
