//! `tollgate certs show`: what the Secret holds, and what callers trust.

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::{Api, api::DynamicObject};
use serde::Serialize;
use time::OffsetDateTime;

use super::on::On;
use crate::{
    certs::authority::{Kept, Root, bundle},
    cli::{exit::Exit, output::print, table, values::ReportFormat},
    cluster::{
        ClusterError,
        request::{items, text},
        watch::{api, webhook_configurations},
    },
};

const KINDS: [(&str, &str); 2] = [
    ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
];

/// A CA.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    role: &'static str,
    created: String,
    replaced_after: String,
    expires: String,
    /// In the `caBundle` of each configuration: yes, no, or why that is not known.
    validating: String,
    mutating: String,
}

/// Everything that is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    secret: String,
    authorities: Vec<Shown>,
    /// Whether callers accept a certificate that the current CA signs.
    trusted: bool,
}

pub(super) async fn run(on: &On, output: ReportFormat) -> anyhow::Result<Exit> {
    let secret = on.read().await?;
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
    let kept = Kept::read(&data, &secret.metadata.annotations.unwrap_or_default());
    let mut bundles = Vec::new();
    for (kind, plural) in KINDS {
        let api: Api<DynamicObject> = api(on.client.clone(), None, &webhook_configurations(kind, plural));
        bundles.push(api.get(&on.configurations).await.map(|found| trusted(&found)).map_err(|error| ClusterError::from(error).to_string()));
    }
    let report = report(format!("{}/{}", on.namespace, on.secret), &kept, &bundles, OffsetDateTime::now_utc());
    print(&match output {
        ReportFormat::Human => human(&report),
        ReportFormat::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
    })?;
    Ok(if report.trusted { Exit::Clean } else { Exit::Found })
}

/// The CAs that callers of every webhook of a configuration trust.
fn trusted(configuration: &DynamicObject) -> Vec<Root> {
    let hooks = items(&configuration.data, "/webhooks").iter();
    let bundles: Vec<_> =
        hooks.map(|hook| bundle::read(&STANDARD.decode(text(hook, "/clientConfig/caBundle")).unwrap_or_default())).collect();
    let everywhere = |root: &Root| bundles.iter().all(|bundle| bundle.contains(root));
    bundles.first().into_iter().flatten().filter(|root| everywhere(root)).cloned().collect()
}

fn report(secret: String, kept: &Kept, bundles: &[Result<Vec<Root>, String>], now: OffsetDateTime) -> Report {
    let roles = [("current", &kept.current), ("next", &kept.next)];
    let signing = roles.into_iter().filter_map(|(role, ca)| Some((role, ca.as_ref()?.root())));
    let signers: Vec<_> = signing.clone().map(|(_, root)| root.clone()).collect();
    let known: Vec<_> = bundles.iter().flatten().map(Vec::as_slice).collect();
    let others = bundle::union(known.into_iter().chain([&kept.bundle[..]]));
    let others: Vec<_> = others.into_iter().filter(|root| !signers.contains(root)).collect();
    let all = signing.chain(others.iter().map(|root| (if kept.bundle.contains(root) { "previous" } else { "unknown" }, root)));
    let authorities = all.map(|(role, root)| {
        let [validating, mutating] = [0, 1].map(|at| match bundles.get(at) {
            Some(Ok(bundle)) => (if bundle.contains(root) { "yes" } else { "no" }).to_owned(),
            Some(Err(error)) => error.clone(),
            None => String::new(),
        });
        let replaced_after = if role == "current" { date(root.due()) } else { String::new() };
        Shown { role, created: date(root.created()), replaced_after, expires: date(root.not_after()), validating, mutating }
    });
    let authorities = authorities.collect();
    let has = |root: &Root| bundles.iter().all(|bundle| bundle.as_ref().is_ok_and(|bundle| bundle.contains(root)));
    Report { secret, authorities, trusted: kept.signer(now).is_some_and(|ca| has(ca.root())) }
}

fn human(report: &Report) -> String {
    let head = ["CA", "CREATED", "REPLACED AFTER", "EXPIRES", "VALIDATING", "MUTATING"];
    let rows = report.authorities.iter().map(|ca| {
        [ca.role.to_owned(), ca.created.clone(), ca.replaced_after.clone(), ca.expires.clone(), ca.validating.clone(), ca.mutating.clone()]
    });
    let sum = match (report.trusted, report.authorities.iter().any(|ca| ca.role == "current")) {
        (true, _) => "Callers trust what the current CA signs.".to_owned(),
        (false, true) => "Callers do not trust the current CA yet: it is expired, or missing in a caBundle.".to_owned(),
        (false, false) => format!("Secret {} holds no CA that can be used: is tollgate serve --certs-secret running?", report.secret),
    };
    format!("{}{sum}\n", table::render(head, rows.collect()))
}

/// As in RFC 3339, in UTC.
fn date(time: OffsetDateTime) -> String {
    format!("{}T{:02}:{:02}:{:02}Z", time.date(), time.hour(), time.minute(), time.second())
}
