//! The response to a denied client, byte for byte.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::{
    limiter::{Call, DecidedBy, Decision, Denial, Limit, Limiter, Policy, Scope, ServerId, Wait},
    mcp::{DenialForm, Envelope, Fault, Reader, RejectStatus, Reply, fields},
    model::{
        limits::Limits,
        subject::{Kind, Subject},
    },
    stores::Memory,
};

use super::{call, headers, read};

const MODES: [RejectStatus; 4] = [RejectStatus::Auto, RejectStatus::Always429, RejectStatus::Always200, RejectStatus::ToolResult];

fn denial(wait: Wait) -> Denial {
    Denial { limit: Limit { scope: Scope::PerUser, tool: Some("search".into()) }, wait, source: DecidedBy::Store }
}

fn after(us: u64) -> Denial {
    denial(Wait::After(Duration::from_micros(us)))
}

fn mode(status: RejectStatus) -> DenialForm {
    DenialForm { status, code: None }
}

fn enveloped(revision: &str, body: &str) -> Envelope {
    let with_names = tollgate::mcp::Headers { method: Some("tools/call"), name: Some("search"), ..headers(Some(revision)) };
    Reader::default().read(&with_names, body.as_bytes()).expect("a message")
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).expect("UTF-8")
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_denial_is_the_contract_s() {
    let message = r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"search"}}"#;
    let reply = mode(RejectStatus::Always429).denied(&read(message).expect("a call"), &after(600_000));
    let body = concat!(
        r#"{"jsonrpc":"2.0","id":9007199254740993,"error":{"code":-32029,"message":"Rate limit exceeded","#,
        r#""data":{"retryAfterSeconds":0.6,"limitType":"perUser","tool":"search"}}}"#
    );
    assert_eq!((reply.status, text(&reply).as_str()), (429, body));
    assert_eq!(header(&reply, "retry-after"), Some("1"));
    assert_eq!(header(&reply, "content-type"), Some("application/json"));
    assert_eq!(header(&reply, "cache-control"), Some("no-store"));
}

#[test]
fn the_limit_s_tool_is_named_only_where_the_limit_is_the_tool_s() {
    let limit = Limit { scope: Scope::Global, tool: None };
    let reply = DenialForm::default().denied(&read(call("search")).expect("a call"), &Denial { limit, ..after(9_000_000) });
    let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(body["error"]["data"], json!({"retryAfterSeconds": 9, "limitType": "global"}));
}

#[test]
fn status_and_code_follow_the_mode_and_the_revision() {
    let statuses = |revision: &str| MODES.map(|status| mode(status).denied(&enveloped(revision, &call("search")), &after(1)).status);
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        assert_eq!(statuses(revision), [200, 429, 200, 200], "{revision}");
    }
    assert_eq!(statuses("2026-07-28"), [429, 429, 200, 200]);
    let plain = read(call("search")).expect("a call");
    let statuses = MODES.map(|status| mode(status).denied(&plain, &after(1)).status);
    assert_eq!(statuses, [429, 429, 200, 200], "a plain HTTP client");
    let code = |code: Option<i64>, revision: &str| {
        let reply = DenialForm { code, status: RejectStatus::Always429 }.denied(&enveloped(revision, &call("search")), &after(1));
        serde_json::from_slice::<Value>(&reply.body).expect("JSON")["error"]["code"].as_i64()
    };
    assert_eq!([code(None, "2025-11-25"), code(None, "2026-07-28")], [Some(-32029), Some(429)]);
    assert_eq!([code(Some(-7), "2025-11-25"), code(Some(-7), "2026-07-28")], [Some(-7); 2]);
}

#[test]
fn a_tool_s_result_says_it_to_the_model() {
    let reply = mode(RejectStatus::ToolResult).denied(&enveloped("2025-11-25", &call("search")), &after(1_500_000));
    let reported = r#"{"type":"text","text":"Rate limit exceeded (tools[search].perUser). Try again in 1.5 s."}"#;
    assert_eq!(text(&reply), format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{reported}],"isError":true}}}}"#));
    let reply = mode(RejectStatus::ToolResult).denied(&enveloped("2026-07-28", &call("search")), &after(1_500_000));
    assert_eq!(
        text(&reply),
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete","content":[{reported}],"isError":true}}}}"#)
    );
}

#[test]
fn seconds_keep_every_microsecond_and_have_no_exponent() {
    let envelope = read(call("search")).expect("a call");
    for (us, seconds, retry_after) in [
        (0, "0", "0"),
        (1, "0.000001", "1"),
        (600_000, "0.6", "1"),
        (1_000_000, "1", "1"),
        (1_000_001, "1.000001", "2"),
        (30_000_000, "30", "30"),
        (9_223_372_036_854_775, "9223372036.854775", "9223372037"),
        (u64::MAX, "18446744073709.551615", "18446744073710"),
    ] {
        let reply = DenialForm::default().denied(&envelope, &after(us));
        assert!(text(&reply).contains(&format!(r#""retryAfterSeconds":{seconds},"#)), "{}", text(&reply));
        assert_eq!(header(&reply, "retry-after"), Some(retry_after));
    }
    let finer = denial(Wait::After(Duration::from_nanos(1_001)));
    assert!(text(&DenialForm::default().denied(&envelope, &finer)).contains(r#""retryAfterSeconds":0.000002,"#), "never too early");
}

#[test]
fn what_can_never_pass_is_not_told_to_come_back() {
    let reply = mode(RejectStatus::Always429).denied(&read(call("search")).expect("a call"), &denial(Wait::Never));
    let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(body["error"]["data"], json!({"limitType": "perUser", "tool": "search"}));
    assert_eq!(body["error"]["message"], "Rate limit exceeded: more calls at once than the limit ever allows; send fewer");
    assert_eq!((reply.status, header(&reply, "retry-after")), (429, None));
}

#[test]
fn where_nobody_awaits_an_answer_the_status_says_it() {
    let envelope = read(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"search"}}"#).expect("a call");
    for status in MODES {
        let reply = mode(status).denied(&envelope, &after(600_000));
        assert_eq!(reply.status, 429);
        assert!(text(&reply).starts_with(r#"{"jsonrpc":"2.0","error":{"code":-32029,"#), "{}", text(&reply));
    }
}

#[test]
fn each_request_of_a_batch_is_answered() {
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}},
        {"jsonrpc":"2.0","method":"notifications/cancelled"},{"jsonrpc":"2.0","method":"tools/call","params":{"name":"search"}},
        {"jsonrpc":"2.0","id":7,"result":{}},{"jsonrpc":"2.0","id":"b","method":"ping"}]"#;
    let envelope = read(batch).expect("a batch");
    let answers = |status| -> Vec<(Value, bool)> {
        let answers: Vec<Value> = serde_json::from_slice(&mode(status).denied(&envelope, &after(1)).body).expect("an array");
        answers.into_iter().map(|answer| (answer["id"].clone(), answer.get("error").is_some())).collect()
    };
    assert_eq!(answers(RejectStatus::Auto), [(json!(1), true), (json!("b"), true)]);
    assert_eq!(answers(RejectStatus::ToolResult), [(json!(1), false), (json!("b"), true)], "ping is no tool");
    let silent = read(r#"[{"jsonrpc":"2.0","method":"tools/call","params":{"name":"search"}}]"#).expect("a batch");
    let reply = DenialForm::default().denied(&silent, &after(1));
    assert_eq!(reply.status, 429);
    assert!(text(&reply).starts_with(r#"{"jsonrpc":"2.0","error":{"code":-32029,"#), "{}", text(&reply));
}

#[test]
fn a_store_that_is_away_is_told_apart_from_a_limit() {
    let envelope = read(call("search")).expect("a call");
    let reply = mode(RejectStatus::Always429).undecided(&envelope);
    let message = "Rate limits cannot be checked at the moment";
    let error = format!(r#"{{"code":-32603,"message":"{message}","data":{{"retryAfterSeconds":1}}}}"#);
    assert_eq!(text(&reply), format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#));
    assert_eq!((reply.status, header(&reply, "retry-after")), (503, Some("1")));
    assert_eq!(DenialForm::default().undecided(&envelope).status, 503);
    assert_eq!(DenialForm::default().undecided(&enveloped("2025-11-25", &call("search"))).status, 200, "a session survives");
    assert!(text(&mode(RejectStatus::ToolResult).undecided(&envelope)).contains(&format!("{message}. Try again in 1 s.")));
}

#[test]
fn an_upstream_s_failure_carries_the_id() {
    let reply = DenialForm::default().failed(&read(call("search")).expect("a call"), 502, "the upstream is away");
    let body = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"the upstream is away"}}"#;
    assert_eq!((reply.status, text(&reply).as_str()), (502, body));
}

#[test]
fn a_session_up_to_2025_11_25_survives_every_refusal_of_a_request_with_an_id() {
    let refusal =
        tollgate::mcp::Refusal { fault: Fault::TooLarge { limit: 9 }, id: read(call("x")).expect("a call").parts()[0].id.clone() };
    let without_id = tollgate::mcp::Refusal { id: None, ..refusal.clone() };
    for (version, statuses) in [(None, [429; 4]), (Some("2026-07-28"), [429; 4]), (Some("2025-11-25"), [200, 429, 200, 200])] {
        for (status, wanted) in MODES.into_iter().zip(statuses) {
            let is_200 = wanted == 200;
            let envelope = match version {
                None => read(call("search")).expect("a call"),
                Some(version) => enveloped(version, &call("search")),
            };
            let failed = mode(status).failed(&envelope, 504, "late");
            assert_eq!((failed.status, failed.cause), (if is_200 { 200 } else { 504 }, 504), "{version:?} {status}");
            let refused = mode(status).refused(envelope.declared(), &refusal);
            assert_eq!((refused.status, refused.cause), (if is_200 { 200 } else { 413 }, 413), "{version:?} {status}");
            assert_eq!(mode(status).refused(envelope.declared(), &without_id).status, 413, "nobody could read it");
        }
    }
    let notification = enveloped("2025-11-25", r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#);
    assert_eq!(DenialForm::default().failed(&notification, 502, "down").status, 502);
}

#[test]
fn modes_are_spelled_as_on_the_command_line() {
    for status in MODES {
        let typed = clap::ValueEnum::to_possible_value(&status).expect("none is hidden");
        assert_eq!(typed.get_name(), status.name());
    }
}

#[tokio::test]
async fn fields_tell_limits_and_what_is_left() {
    let limits = json!({"spec": {"oidcConfigRef": {"name": "sso"}, "sessionStorage": {"provider": "redis", "address": "redis:6379"}, "rateLimiting": {
        "global": {"maxTokens": 100, "refillPeriod": "1m"},
        "tools": [{"name": "a\"\\é%", "perUser": {"maxTokens": 1, "refillPeriod": "1.5s"}}],
    }}});
    let limits = Limits::of(Subject::new(Kind::McpServer, &limits)).expect("good limits").expect("limits");
    let limiter = Limiter::new(Memory::default(), Policy::new(&ServerId::new("ns", "mcp"), &limits));
    let policy = limiter.policy();
    let (tool, other) = (Call::of("a\"\\é%").by("alice"), Call::of("b").by("alice"));
    assert_eq!(
        fields::rate_limit_policy(&policy.plan(&tool)).as_deref(),
        Some(r#""global";q=100;w=60, "tools[a\"\\%C3%A9%25].perUser";q=1"#)
    );
    let allowed = limiter.decide(&other).await.expect("a decision");
    assert_eq!(fields::rate_limit(&policy.plan(&other), &allowed).as_deref(), Some(r#""global";r=99"#));
    let allowed = limiter.decide(&tool).await.expect("a decision");
    assert_eq!(fields::rate_limit(&policy.plan(&tool), &allowed), None, "two limits, one number");
    let denied = limiter.decide(&tool).await.expect("a decision");
    assert!(matches!(denied, Decision::Denied(_)));
    assert_eq!(fields::rate_limit(&policy.plan(&tool), &denied).as_deref(), Some(r#""tools[a\"\\%C3%A9%25].perUser";r=0;t=2"#));
    assert_eq!(fields::rate_limit_policy(&Policy::new(&ServerId::new("ns", "mcp"), &Limits::default()).plan(&other)), None);
}
