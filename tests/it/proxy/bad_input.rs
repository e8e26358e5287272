//! Invalid requests: each gets a clear answer, is not forwarded, and disturbs no other client.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{ask, assert_denied, assert_passed, assert_refused, bucket, call, posted, proxy, raw, resource, rest, send};
use crate::support::{proxy::Proxy, upstream::Upstream};

/// That another client is served, and that nothing else reached the server.
async fn assert_undisturbed(proxy: &Proxy, upstream: &Upstream) {
    assert_passed(&ask(proxy, &[], call(1, "witness")).await, "witness");
    let called = upstream.called();
    assert!(called.iter().all(|called| called == "witness"), "the server got {called:?}");
    assert!(!proxy.log().contains("panicked"), "{}", proxy.log());
}

#[tokio::test]
async fn arguments_may_be_as_deep_as_servers_take_them() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 9, &[]);
    let deep = |depth: usize| call(1, "search").replace("{}", &format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth)));
    for depth in [120, 130, 997] {
        // The server of the test itself reads no more than 128 levels.
        assert!(ask(&proxy, &[], deep(depth)).await.status < 300);
        assert_eq!(upstream.last().body, deep(depth));
    }
    assert_refused(&ask(&proxy, &[], deep(998)).await, 400, "nested deeper than 1000 levels");
    let mut utf8 = posted(&[], call(2, "search"));
    utf8.headers_mut().insert("content-type", "application/json; charset=utf8".parse().expect("a value"));
    assert_passed(&send(&proxy, utf8).await, "search");
}

#[tokio::test]
async fn a_body_that_is_no_json_rpc_gets_400_and_a_reason() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 99, &[]);
    let deep = "[".repeat(100_000);
    let closed = format!("{deep}{}", "]".repeat(100_000));
    let in_arguments =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"search","arguments":{{"a":{closed}}}}}}}"#);
    let cases: [(Vec<u8>, i64, &str); 20] = [
        (b"".into(), -32700, "the body is not JSON: EOF while parsing"),
        (b"hello".into(), -32700, "the body is not JSON: expected value"),
        (b"\xff\xfe\x00".into(), -32700, "byte 0 is not UTF-8"),
        (b"\xef\xbb\xbf{}".into(), -32700, "byte order mark"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"".into(), -32700, "the body is not JSON: EOF while parsing"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping"} {"x":1}"#.into(), -32700, "the body is not JSON: trailing characters"),
        (b"null".into(), -32600, "the body is not a JSON-RPC message"),
        (b"7".into(), -32600, "the body is not a JSON-RPC message"),
        (b"\"tools/call\"".into(), -32600, "the body is not a JSON-RPC message"),
        (b"[]".into(), -32600, "the body is not a JSON-RPC message"),
        (b"{}".into(), -32600, "the body is not a JSON-RPC message"),
        (br#"{"id":1,"method":"tools/call","params":{"name":"search"}}"#.into(), -32600, "the body is not a JSON-RPC message"),
        (br#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#.into(), -32600, "the body is not a JSON-RPC message"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#.into(), -32600, "send \"method\" once"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#.into(), -32600, "\"Method\" could be read as \"method\""),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#.into(), -32602, "cannot determine the tool to call"),
        (
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["search"]}}"#.into(),
            -32602,
            "cannot determine the tool to call",
        ),
        (deep.into_bytes(), -32700, "the body is nested deeper than"),
        (closed.into_bytes(), -32700, "the body is nested deeper than"),
        (in_arguments.into_bytes(), -32700, "the body is nested deeper than"),
    ];
    for (body, code, text) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let answer = ask(&proxy, &[], body).await;
        assert_eq!(answer.json()["error"]["code"], code, "{shown}: {}", answer.text());
        assert_refused(&answer, 400, text);
        assert_undisturbed(&proxy, &upstream).await;
    }
}

#[tokio::test]
async fn a_body_that_says_it_is_something_else_gets_415() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 99, &[]);
    let length = call(1, "search").len();
    for (header, text) in [
        ("Content-Type: text/plain", "send application/json in UTF-8"),
        ("Content-Type: application/json; charset=utf-16", "send application/json in UTF-8"),
        ("X-None: 1", "send application/json in UTF-8"),
        ("Content-Type: application/json\r\nContent-Encoding: gzip", "send the body as it is"),
    ] {
        let response = raw(
            &proxy,
            format!(
                "POST /mcp HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{}",
                call(1, "search")
            ),
        )
        .await;
        assert!(response.starts_with("HTTP/1.1 415 ") && response.contains(text), "{header}: {response}");
        assert_undisturbed(&proxy, &upstream).await;
    }
}

#[tokio::test]
async fn more_than_the_limit_gets_413_whether_announced_or_not() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 99, &[]);
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let began = Instant::now();
    let announced = raw(&proxy, format!("{head}Content-Length: 1073741824\r\n\r\n{{\"jsonrpc\"")).await;
    assert!(announced.starts_with("HTTP/1.1 413 ") && announced.contains("the body is larger than 4194304 bytes"), "{announced}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_undisturbed(&proxy, &upstream).await;

    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let chunked = raw(&proxy, format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(65))).await;
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    assert_undisturbed(&proxy, &upstream).await;

    let exactly = |size: usize| {
        let bare = call(2, "witness");
        format!("{bare}{}", " ".repeat(size - bare.len()))
    };
    assert_passed(&ask(&proxy, &[], exactly(4 * 1024 * 1024)).await, "witness");
    assert_refused(&ask(&proxy, &[], exactly(4 * 1024 * 1024 + 1)).await, 413, "the body is larger than 4194304 bytes");
    assert_undisturbed(&proxy, &upstream).await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_gets_408() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 99, &["--body-timeout", "500ms"]);
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{";
    let mut stream = TcpStream::connect(proxy.address).await.expect("the port is open");
    stream.write_all(head.as_bytes()).await.expect("it is sent");
    let (mut reads, mut writes) = stream.into_split();
    // A byte now and then does not help.
    let dripping = tokio::spawn(async move {
        while writes.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await
        }
    });
    let mut response = Vec::new();
    let _ = tokio::time::timeout(super::PATIENCE, reads.read_to_end(&mut response)).await.expect("the connection ends");
    dripping.abort();
    let response = String::from_utf8_lossy(&response);
    assert!(response.starts_with("HTTP/1.1 408 ") && response.contains("the body was not received within 500ms"), "{response}");
    assert_undisturbed(&proxy, &upstream).await;
}

#[tokio::test]
async fn a_head_that_never_ends_loses_its_connection() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 99, &[]);
    let stream = TcpStream::connect(proxy.address).await.expect("the port is open");
    let (mut reads, mut writes) = stream.into_split();
    writes.write_all(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-A: ").await.expect("it is sent");
    // Nor does it here: the whole head has a deadline.
    let dripping = tokio::spawn(async move {
        while writes.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await
        }
    });
    let mut response = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), reads.read_to_end(&mut response)).await;
    dripping.abort();
    assert!(ended.is_ok() && response.is_empty(), "{}", String::from_utf8_lossy(&response));
    assert_undisturbed(&proxy, &upstream).await;
}

#[tokio::test]
async fn a_client_that_closes_its_half_leaves_nothing_behind() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 99, &[]);
    let half = async |bytes: String| {
        let mut stream = TcpStream::connect(proxy.address).await.expect("the port is open");
        stream.write_all(bytes.as_bytes()).await.expect("it is sent");
        stream.shutdown().await.expect("half of it");
        stream
    };
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    for cut in ["", "POST /mcp HT", &format!("{head}Content-Le"), &format!("{head}Content-Length: 900\r\n\r\n{}", call(1, "search"))] {
        let response = rest(&mut half(cut.to_owned()).await).await;
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 400 "), "{cut:?}: {response}");
        assert_undisturbed(&proxy, &upstream).await;
    }
    let body = call(1, "slow");
    let mut waiting = TcpStream::connect(proxy.address).await.expect("the port is open");
    waiting.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.expect("it is sent");
    let slow = upstream.stream().await;
    waiting.shutdown().await.expect("half of it");
    slow.closed().await;
    rest(&mut waiting).await;
    assert_passed(&ask(&proxy, &[], call(1, "witness")).await, "witness");
}

#[tokio::test]
async fn pipelined_calls_are_each_decided_and_answered_in_order() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 3, &[]);
    let one = |id: u32, more: &str| {
        let body = call(id, "search");
        format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\n{more}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let response = raw(&proxy, [one(1, ""), one(2, ""), one(3, ""), one(4, ""), one(5, "Connection: close\r\n")].concat()).await;
    let places: Vec<_> = (1..=5).map(|id| response.find(&format!("\"id\":{id}")).unwrap_or_else(|| panic!("{id}: {response}"))).collect();
    assert!(places.is_sorted(), "{response}");
    assert_eq!((response.matches("\"result\"").count(), response.matches("-32029").count()), (3, 2), "{response}");
    assert_eq!(upstream.called(), ["search"; 3]);
}

#[tokio::test]
async fn tools_of_any_name_are_told_apart_and_passed_as_they_are() {
    let upstream = Upstream::start().await;
    let names = [
        "plain",
        "{a}",
        "a}",
        "a:b",
        "a:b:c",
        ":",
        "a\nb",
        "a\r\nX-Evil: 1",
        "%7Ba%7D",
        "user:a",
        "shared",
        "ключ",
        "a b",
        "a\tb",
        "*",
        &"long".repeat(2500),
    ];
    let tools: Vec<_> = names.iter().map(|name| json!({"name": name, "global": bucket(1)})).collect();
    let args = ["--store", "memory", "--access-log", "all", "--rate-limit-fields"];
    let proxy = Proxy::start(&upstream.url(), &resource(json!({"tools": tools})), &args);
    for (id, name) in (0..).zip(names) {
        let passed = ask(&proxy, &[], call(id, name)).await;
        assert_passed(&passed, name);
        let denied = ask(&proxy, &[], call(id, name)).await;
        assert_denied(&denied, id, "global");
        assert_eq!(denied.json()["error"]["data"]["tool"], *name);
        assert!(!denied.headers.contains_key("x-evil") && !passed.headers.contains_key("x-evil"), "{name:?}");
    }
    assert_eq!(upstream.called(), names, "once each");
    let unlimited = "not listed:{x}\n".repeat(700);
    assert_passed(&ask(&proxy, &[], call(99, &unlimited)).await, &unlimited);
    assert_refused(&ask(&proxy, &[], call(99, "a\0b")).await, 400, "NUL");
    proxy.wait_for_log("not listed");
    let log = proxy.log();
    assert!(log.lines().all(|line| line.starts_with("20")), "a line for each thing that happened: {log}");
    let line = log.lines().find(|line| line.contains("not listed")).expect("it is logged");
    assert!(line.len() < 500, "clients choose names, and not how long the log is: {line}");
}
