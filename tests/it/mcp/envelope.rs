//! Bodies and headers in, envelopes or refusals out.

use serde_json::{Value, json};
use tollgate::mcp::{Envelope, Fault, Headers, Id, Message, Reader, Refusal, Reply, Revision};

use super::{
    bodies::{self, Is},
    call, headers, read,
};

#[test]
fn each_body_is_what_the_table_says() {
    for (body, is) in bodies::all() {
        let shown = String::from_utf8_lossy(&body).chars().take(300).collect::<String>();
        match (read(&body), is) {
            (Ok(envelope), Is::Calling(tools)) => assert_eq!(envelope.tools(), tools, "{shown}"),
            (Err(refusal), Is::Refused(code, message)) => {
                assert_eq!((refusal.status(), refusal.code()), (400, code), "{refusal}: {shown}");
                assert!(refusal.to_string().contains(message), "{refusal}: {shown}");
            }
            (found, _) => panic!("{found:?} instead of {is:?}: {shown}"),
        }
    }
}

fn id_of(message: &str) -> Option<String> {
    let envelope = read(message).expect("a message");
    envelope.parts()[0].id.as_ref().map(Id::as_str).map(str::to_owned)
}

#[test]
fn an_id_stays_byte_for_byte() {
    let long = format!("\"{}\"", "x".repeat(10_000));
    let digits = "9".repeat(5_000);
    for id in
        ["1", "-0", "1.0", "1e2", "1E400", "9007199254740993", "18446744073709551616", "null", "\"\"", "\"\\u0041\\/\"", &long, &digits]
    {
        let message = format!(r#"{{"jsonrpc":"2.0","id" : {id} ,"method":"tools/call","params":{{"name":"x"}}}}"#);
        assert_eq!(id_of(&message).as_deref(), Some(id));
    }
    assert_eq!(id_of(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"x"}}"#), None);
    assert_eq!(id_of(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#), None, "the client answers, nobody answers the client");
}

#[test]
fn batches_are_of_2025_03_26_only() {
    let batch = format!("[{},{}]", call("a"), call("b"));
    for revision in [None, Some("2025-03-26")] {
        let envelope = Reader::default().read(&headers(revision), batch.as_bytes()).expect("a batch");
        assert!(matches!(&envelope.message, Message::Batch(parts) if parts.len() == 2), "{envelope:?}");
        assert_eq!(envelope.tools(), ["a", "b"]);
    }
    for revision in ["2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28"] {
        let fault = refused(&headers(Some(revision)), &batch).fault;
        assert_eq!(fault, Fault::Batch(Revision::parse(revision).expect("a date")));
        assert!(matches!(refused(&headers(Some(revision)), "[1,").fault, Fault::NotJson(_)), "broken JSON is told first");
    }
}

fn refused(headers: &Headers<'_>, body: &str) -> Refusal {
    match Reader::default().read(headers, body.as_bytes()) {
        Err(refusal) => refusal,
        Ok(envelope) => panic!("{headers:?} {body}: {envelope:?}"),
    }
}

#[test]
fn what_is_not_declared_as_json_is_not_read() {
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/json; charset=utf-7")] {
        let refusal = refused(&Headers { content_type, ..headers(None) }, &call("x"));
        assert_eq!((refusal.status(), refusal.code()), (415, -32600));
        assert_eq!(refusal.fault, Fault::MediaType(content_type.unwrap_or_default().to_owned()));
    }
    let refusal = refused(&Headers { content_encoding: Some("br"), ..headers(None) }, &call("x"));
    assert_eq!((refusal.status(), refusal.fault), (415, Fault::ContentEncoding("br".to_owned())));
    let refusal = refused(&headers(Some("2025-06-18, 2026-07-28")), &call("x"));
    assert_eq!((refusal.status(), refusal.code()), (400, -32600));
    assert_eq!(refusal.to_string(), r#"MCP-Protocol-Version is "2025-06-18, 2026-07-28"; send a revision such as 2025-11-25"#);
}

fn routed<'a>(method: Option<&'a str>, name: Option<&'a str>) -> Headers<'a> {
    Headers { method, name, ..headers(Some("2026-07-28")) }
}

fn read_routed(method: Option<&str>, name: Option<&str>, body: &Value) -> Result<Envelope, Refusal> {
    Reader::default().read(&routed(method, name), body.to_string().as_bytes())
}

#[test]
fn from_2026_07_28_headers_say_what_the_body_says() {
    let call = |name: &str| json!({"jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": {"name": name}});
    for (header, name) in [
        ("search", "search"),
        ("=?base64?c2VhcmNo?=", "search"),
        ("=?base64?w6k=?=", "é"),
        ("=?base64?PT9iYXNlNjQ/eD89?=", "=?base64?x?="),
        ("=?Base64?x?=", "=?Base64?x?="),
        ("", ""),
    ] {
        let envelope = read_routed(Some("tools/call"), Some(header), &call(name)).expect("they agree");
        assert_eq!(envelope.tools(), [name]);
    }
    for (method, header, message) in [
        (None, Some("search"), r#"Header mismatch: Mcp-Method is missing, and the body has "tools/call""#),
        (Some("ping"), Some("search"), r#"Header mismatch: Mcp-Method is "ping", and the body has "tools/call""#),
        (Some("tools/call"), None, r#"Header mismatch: Mcp-Name is missing, and the body has "search""#),
        (Some("tools/call"), Some("Search"), r#"Header mismatch: Mcp-Name is "Search", and the body has "search""#),
        (Some("tools/call"), Some("=?base64?c2VhcmNo"), r#"Header mismatch: Mcp-Name is "=?base64?c2VhcmNo", and the body has "search""#),
        (
            Some("tools/call"),
            Some("=?base64?c2VhcmN?="),
            r#"Header mismatch: Mcp-Name is "=?base64?c2VhcmN?=", which is not base64 of UTF-8"#,
        ),
    ] {
        let refusal = read_routed(method, header, &call("search")).expect_err("they disagree");
        assert_eq!((refusal.status(), refusal.code()), (400, -32020));
        assert!(refusal.to_string().starts_with(message), "{refusal}");
        let body: Value = serde_json::from_slice(&refusal.reply().body).expect("JSON");
        assert_eq!((&body["id"], &body["error"]["code"]), (&json!("a"), &json!(-32020)));
    }
    assert!(Reader::default().read(&Headers { method: Some("ping"), ..headers(Some("2025-11-25")) }, super::call("x").as_bytes()).is_ok());
}

#[test]
fn headers_are_needed_where_the_revision_has_them() {
    let resource = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "file:///a"}});
    assert!(read_routed(Some("resources/read"), Some("file:///a"), &resource).is_ok());
    let refusal = read_routed(Some("resources/read"), Some("file:///b"), &resource).expect_err("they disagree");
    assert_eq!(refusal.code(), -32020);
    assert!(read_routed(Some("tools/list"), None, &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).is_ok());
    assert!(read_routed(None, None, &json!({"jsonrpc": "2.0", "method": "notifications/cancelled"})).is_ok(), "notifications need none");
    let without_id = json!({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "x"}});
    assert_eq!(read_routed(None, None, &without_id).expect_err("a call all the same").code(), -32020);
    let response = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    assert_eq!(read_routed(Some("tools/call"), None, &response).expect_err("no method").code(), -32020);
}

#[test]
fn a_server_without_an_optimizer_may_have_a_tool_of_that_name() {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "call_tool", "arguments": {"tool_name": "x"}}});
    let tools = |reader: Reader| reader.read(&headers(None), body.to_string().as_bytes()).expect("a call").tools()[0].to_owned();
    assert_eq!(tools(Reader::default()), "x");
    assert_eq!(tools(Reader::default().optimizer(false)), "call_tool");
}

#[test]
fn a_refusal_is_a_json_rpc_error_with_the_id_where_that_is_certain() {
    let reply = refused(&headers(None), r#"{"jsonrpc":"2.0","id":1.50,"method":"tools/call"}"#).reply();
    let body =
        r#"{"jsonrpc":"2.0","id":1.50,"error":{"code":-32602,"message":"cannot determine the tool to call: params.name is missing"}}"#;
    let headers_sent = vec![("content-type", "application/json".to_owned()), ("cache-control", "no-store".to_owned())];
    let wanted = Reply { status: 400, cause: 400, is_awaited: true, headers: headers_sent, body: body.as_bytes().to_vec() };
    assert_eq!(reply, wanted);
    let reply = refused(&headers(None), r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#).reply();
    let body = r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"more than one member could be read as \"method\"; send \"method\" once, spelled exactly so"}}"#;
    assert_eq!(String::from_utf8_lossy(&reply.body), body);
}

#[test]
fn a_refused_message_keeps_its_id_where_no_parser_could_read_another() {
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    for params in
        [r#"{"name":"a","Name":"b"}"#, r#"{"name":"a\u0000"}"#, r#"{"name":"a","__proto__":1}"#, r#"{"name":"\ud800"}"#, &deep, "[]"]
    {
        let body = format!(r#"{{"method":"tools/call","params":{params},"jsonrpc":"2.0","id":"x"}}"#);
        let refusal = refused(&headers(None), &body);
        assert_eq!(refusal.id.map(|id| id.as_str().to_owned()).as_deref(), Some("\"x\""), "{body}");
    }
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"a","METHOD":"b"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a",}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"method":"a"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{}]"#,
    ] {
        assert_eq!(refused(&headers(None), body).id, None, "{body}");
    }
}

/// On a stack on which no parser that recurses comes far.
#[test]
fn depth_costs_no_stack() {
    let read_deep = |depth: usize| {
        let arguments = format!("{}1{}", r#"{"a":["#.repeat(depth / 2), "]}".repeat(depth / 2));
        let params = format!(r#"{{"name":"call_tool","arguments":{{"tool_name":"x","parameters":{arguments}}}}}"#);
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        read(body).map(|envelope| envelope.tools().join(" ")).map_err(|refusal| (refusal.code(), refusal.id.is_some()))
    };
    let small = std::thread::Builder::new().stack_size(128 * 1024);
    let run = small.spawn(move || [130, 996, 998, 1_000_000].map(read_deep)).expect("it starts");
    assert_eq!(run.join().expect("no overflow"), [Ok("x".to_owned()), Ok("x".to_owned()), Err((-32700, true)), Err((-32700, true))]);
}

#[test]
fn messages_repeat_little_of_what_was_sent() {
    let secret = "s3cret".repeat(100);
    for body in [
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"x","arguments":{{"a":"{secret}" x}}}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":["{secret}"]}}}}"#),
        format!(r#"{{"jsonrpc":"{secret}","id":1,"method":"tools/call"}}"#),
        secret.clone(),
    ] {
        let message = refused(&headers(None), &body).to_string();
        assert!(!message.contains("s3cret"), "{message}");
    }
    let type_sent = "x".repeat(10_000);
    let message = refused(&Headers { content_type: Some(&type_sent), ..headers(None) }, "{}").to_string();
    assert!(message.len() < 200, "{message}");
}
