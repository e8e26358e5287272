//! Observability: health, readiness, metrics, logs.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use x509_parser::pem::parse_x509_pem;

use crate::{
    support::{
        https::{Answer, get},
        serve::Serve,
        time::eventually,
    },
    webhook_https::{UID, bucket, client, denied_review, good_review, object, response, review, sample},
};

/// Asks until the answer has a status.
pub(super) async fn wait_for_status(server: &Serve, path: &str, status: u16) -> Answer {
    let mut last = None;
    eventually(&format!("{status} from {path}"), async || last.insert(get(server.metrics, path).await).status == status).await;
    last.expect("it was asked")
}

#[tokio::test]
async fn a_server_is_ready_once_it_has_reached_itself() {
    let server = Serve::start(&[]);
    assert_eq!(get(server.metrics, "/healthz").await.text(), "ok\n");
    let ready = wait_for_status(&server, "/readyz", 200).await;
    assert_eq!(ready.text(), "[+] not stopping\n[+] answers TLS on its own port\n[+] installed CRDs read\n");
    server.wait_for_log("ready: the TLS port answers");
    let unknown = get(server.metrics, "/validate").await;
    assert_eq!((unknown.status, unknown.text().as_str()), (404, "there are /healthz, /readyz and /metrics\n"));
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_not_ready_though_it_lives() {
    // The only place is taken, by a review under way, before the server dials itself again.
    let server = Serve::start(&["--max-connections", "1", "--deadline", "60s"]);
    server.wait_for_log("ready: the TLS port answers");
    let mut held = client(&server).connect().await.expect("a handshake");
    let head = "POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    held.write_all(head.as_bytes()).await.expect("written");
    server.wait_for_log("not ready: the TLS port does not answer");
    let answer = wait_for_status(&server, "/readyz", 503).await;
    assert!(answer.text().contains("[-] answers TLS on its own port\n"), "{}", answer.text());
    assert_eq!(get(server.metrics, "/healthz").await.status, 200);
    drop(held);
    wait_for_status(&server, "/readyz", 200).await;
}

#[tokio::test]
async fn metrics_count_reviews_rules_aliases_refusals_and_time() {
    let server = Serve::start(&[]);
    let client = client(&server);
    for body in [good_review(), denied_review(), denied_review()] {
        client.post("/validate", body).await;
    }
    let aliased = review(object(json!({"shared": bucket(), "tools": [{"name": "a", "shared": bucket()}]}))).to_string();
    client.post("/mutate", aliased.clone()).await;
    client.post("/validate", aliased).await;
    client.post("/validate", format!(r#"{{"request":{{"uid":"{UID}","#)).await;
    client.post("/mutate", "").await;
    client.post("/mutate?timeout=soon", "{}").await;
    let answer = get(server.metrics, "/metrics").await;
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let metrics = answer.text();
    let requests = |hook: &str, kind: &str, operation: &str, verdict: &str| {
        let labels = format!(r#"hook="{hook}",operation="{operation}",kind="{kind}",verdict="{verdict}""#);
        sample(&metrics, &format!("tollgate_admission_requests_total{{{labels}}}"))
    };
    assert_eq!(requests("validate", "MCPServer", "CREATE", "allowed"), Some(2.0), "{metrics}");
    assert_eq!(requests("validate", "MCPServer", "CREATE", "denied"), Some(2.0), "{metrics}");
    assert_eq!(requests("mutate", "MCPServer", "CREATE", "patched"), Some(1.0), "{metrics}");
    assert_eq!(requests("validate", "", "", "malformed"), Some(1.0), "{metrics}");
    assert_eq!(requests("mutate", "", "", "malformed"), Some(1.0), "{metrics}");
    for (series, count) in [
        (r#"rules_total{rule="TG002",level="deny"}"#, 2.0),
        (r#"rules_total{rule="TG101",level="warn"}"#, 1.0),
        (r#"alias_total{case="3"}"#, 2.0),
        (r#"refusals_total{hook="mutate",code="400"}"#, 1.0),
        (r#"duration_seconds_count{hook="validate"}"#, 5.0),
        (r#"duration_seconds_count{hook="mutate"}"#, 2.0),
        (r#"duration_seconds_bucket{le="+Inf",hook="validate"}"#, 5.0),
        ("in_flight", 0.0),
        ("panics_total", 0.0),
    ] {
        assert_eq!(sample(&metrics, &format!("tollgate_admission_{series}")), Some(count), "{series} in {metrics}");
    }
    assert!(sample(&metrics, r#"tollgate_admission_duration_seconds_sum{hook="validate"}"#).is_some_and(|sum| sum > 0.0), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}

#[tokio::test]
async fn the_end_of_the_certificate_is_a_metric() {
    let server = Serve::start(&[]);
    let pem = std::fs::read(server.folder.path().join("certs/dev/tls.crt")).expect("made at start");
    let (_, pem) = parse_x509_pem(&pem).expect("PEM");
    let not_after = pem.parse_x509().expect("a certificate").validity().not_after.timestamp();
    let metrics = get(server.metrics, "/metrics").await.text();
    let expiry = sample(&metrics, "tollgate_certificate_expiry_timestamp").expect("the gauge is there");
    assert_eq!(expiry as i64, not_after);
}

const MARKER: &str = "never-to-be-logged-0xC0FFEE";

/// A review that TG002 and TG006 deny, with a marker wherever an object can hold text.
fn marked_review() -> String {
    let mut object = object(json!({
        "perUser": {"maxTokens": MARKER, "refillPeriod": MARKER},
        "tools": [{"name": MARKER, "global": bucket(), MARKER: MARKER}],
    }));
    object["spec"]["oidcConfigRef"].take();
    object["spec"]["sessionStorage"]["address"] = MARKER.into();
    object["metadata"]["labels"] = json!({"app": MARKER});
    object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": MARKER});
    review(object).to_string()
}

#[tokio::test]
async fn a_denial_is_one_line_with_its_rules_and_nothing_of_the_object() {
    let server = Serve::start(&["-vv"]);
    let client = client(&server);
    let denied = response(&client.post("/validate", marked_review()).await);
    assert_eq!(denied["allowed"], false, "{denied}");
    client.post("/mutate", marked_review()).await;
    client.post("/validate", marked_review().replace("\"object\":{", "\"object\":[{")).await;
    client.post("/validate", good_review()).await;
    server.wait_for_log("malformed");
    let log = server.log();
    let denials: Vec<_> = log.lines().filter(|line| line.contains("denied")).collect();
    assert_eq!(denials.len(), 1, "{log}");
    for part in [r#"hook="validate""#, r#"operation="CREATE""#, r#"kind="MCPServer""#, r#"namespace="default""#, r#"name="fetch""#] {
        assert!(denials[0].contains(part), "{part} is not in {}", denials[0]);
    }
    assert!(denials[0].contains(r#"rules="TG002,TG006,TG007,TG009,TG011""#), "{}", denials[0]);
    assert!(!log.contains(MARKER), "{log}");
    assert!(!log.contains("allowed"), "reviews that are allowed are not logged: {log}");
}

#[tokio::test]
async fn json_logs_are_one_object_a_line_whatever_a_name_holds() {
    let server = Serve::start(&["--log-format", "json", "-v"]);
    let mut named: Value = serde_json::from_str(&denied_review()).expect("JSON");
    named["request"]["name"] = json!("a\nb\"c\u{1b}[31m\u{2028}");
    client(&server).post("/validate", named.to_string()).await;
    server.wait_for_log("TG002");
    let log = server.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))).collect();
    let denial = lines.iter().find(|line| line["message"] == "denied").unwrap_or_else(|| panic!("{log}"));
    assert_eq!(denial["level"], "INFO");
    assert_eq!(denial["rules"], "TG002");
    assert_eq!(denial["name"], "a\nb\"c\u{1b}[31m\u{2028}");
    assert_eq!(denial["dry_run"], false);
}

#[tokio::test]
async fn a_name_cannot_forge_a_log_line() {
    let server = Serve::start(&[]);
    let mut named: Value = serde_json::from_str(&denied_review()).expect("JSON");
    named["request"]["name"] = json!("x\n2026-01-01T00:00:00Z  INFO forged\u{1b}[31m");
    client(&server).post("/validate", named.to_string()).await;
    server.wait_for_log("TG002");
    let log = server.log();
    assert!(!log.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z")), "{log}");
    assert!(!log.contains('\u{1b}'), "{log:?}");
}
