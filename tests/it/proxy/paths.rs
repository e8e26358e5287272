//! Which paths of the MCP server are reachable, and that none of its answers leads past the proxy.

use serde_json::json;

use super::{Upstream, ask, assert_denied, assert_passed, assert_refused, bucket, call, proxy, request, resource, send};
use crate::{
    auth::{
        issuer::Issuer,
        signer::{AUDIENCE, Signer},
    },
    support::{https::send_plain, proxy::Proxy, serve::command},
};

#[tokio::test]
async fn nothing_beside_the_endpoint_is_reached() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 9, &[]);
    for (method, path) in [
        ("GET", "/admin/debug"),
        ("GET", "/mcp/../admin/debug"),
        ("GET", "/mcp/..%2fadmin"),
        ("GET", "//mcp"),
        ("GET", "/%6dcp"),
        ("GET", "/.well-known/../admin/debug"),
        ("GET", "/.well-known/%2e%2e/admin/debug"),
        ("POST", "/.well-known/oauth-authorization-server"),
        ("POST", "/messages/?session_id=7"),
        ("POST", "/mcp/admin"),
        ("POST", "/MCP"),
        ("DELETE", "/admin"),
        ("OPTIONS", "/admin"),
        ("PUT", "/admin"),
    ] {
        let answer = send(&proxy, request(method, path, &[], call(1, "search"))).await;
        assert_refused(&answer, 404, "nothing is served at this path; the MCP endpoint is /mcp");
        assert_eq!(answer.json()["error"]["code"], 404, "{method} {path}");
    }
    assert!(upstream.seen().is_empty());
    let found = send(&proxy, request("GET", "/.well-known/oauth-protected-resource/mcp?a=b", &[("x-answer-status", "404")], "")).await;
    assert_eq!((found.status, upstream.last().path.as_str()), (404, "/.well-known/oauth-protected-resource/mcp?a=b"), "it is asked");
}

#[tokio::test]
async fn a_redirect_leads_to_the_proxy_where_calls_are_limited_all_the_same() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 2, &[]);
    let redirect =
        [("x-answer-status", "307"), ("x-answer", "location: http://ADDRESS/mcp"), ("x-answer", "content-location: //ADDRESS/mcp")];
    let answer = send(&proxy, request("POST", "/mcp/", &redirect, call(1, "search"))).await;
    assert_eq!((answer.status, upstream.last().path.as_str()), (307, "/mcp/"));
    assert_eq!(
        (&answer.headers["location"], &answer.headers["content-location"]),
        (&"/mcp".parse().expect("ASCII"), &"/mcp".parse().expect("ASCII"))
    );
    assert_passed(&ask(&proxy, &[], call(2, "search")).await, "search");
    for path in ["/mcp", "/mcp/", "/"] {
        assert_denied(&send(&proxy, request("POST", path, &[], call(3, "search"))).await, 3, "global");
    }
    let address = upstream.address.to_string();
    for (location, wanted) in [
        ("http://ADDRESS/mcp?a=b#c", "/mcp?a=b#c"),
        ("https://10.9.9.9:8443/mcp/", "/mcp/"),
        ("http://ADDRESS//evil.example/", "/.//evil.example/"),
        ("/mcp/", "/mcp/"),
        ("https://login.example/authorize", "https://login.example/authorize"),
    ] {
        let fields = [("x-answer-status", "302"), ("x-answer", &format!("location: {location}")), ("x-answer", "alt-svc: h3=\":1\"")];
        let answer = send(&proxy, request("DELETE", "/mcp", &fields, "")).await;
        assert_eq!(answer.headers["location"], wanted, "{location}");
        assert!(answer.headers.iter().all(|(_, value)| !String::from_utf8_lossy(value.as_bytes()).contains(&address)));
        assert!(!answer.headers.contains_key("alt-svc"), "another way to the server");
    }
}

#[tokio::test]
async fn a_path_that_is_named_passes_and_messages_do_not() {
    let upstream = Upstream::start().await;
    let proxy = proxy(&upstream, 1, &["--pass-path", "/token,/register"]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    let form = [("content-type", "application/x-www-form-urlencoded"), ("authorization", "Basic Y2xpZW50OnNlY3JldA==")];
    let body = "grant_type=authorization_code&code=x";
    let token = super::request("PUT", "/token?a=b", &form, body);
    assert_eq!(send(&proxy, token).await.status, 202);
    let seen = upstream.last();
    assert_eq!((seen.method.as_str(), seen.path.as_str(), &seen.body[..]), ("PUT", "/token?a=b", body.as_bytes()));
    assert_eq!(seen.header("authorization"), form[1].1);
    let registration = json!({"client_name": "a", "redirect_uris": ["http://localhost/"]}).to_string();
    assert_eq!(send(&proxy, request("POST", "/register", &[], registration)).await.status, 202);
    let passed = upstream.seen().len();
    for body in [call(2, "search"), format!("[{}]", call(2, "search")), "{\"METHOD\": 1}".to_owned()] {
        let answer = send(&proxy, request("POST", "/register", &[], body)).await;
        assert_refused(&answer, 400, "this path does not accept JSON-RPC messages; send them to the MCP endpoint");
    }
    assert_refused(&send(&proxy, request("POST", "/register", &[("content-encoding", "gzip")], "x")).await, 415, "send the body as it is");
    assert_refused(&send(&proxy, request("PROPFIND", "/register", &[], "")).await, 405, "send POST, GET or DELETE");
    assert_eq!(send(&proxy, request("GET", "/register/", &[], "")).await.status, 404, "exactly this path");
    assert_eq!(upstream.seen().len(), passed);
}

#[tokio::test]
async fn clients_that_are_about_to_sign_in_need_no_token_there() {
    let (upstream, signer) = (Upstream::start().await, Signer::es256("e"));
    let issuer = Issuer::start(&[&signer]).await;
    let args = ["--oidc-issuer", &issuer.url, "--oidc-audience", AUDIENCE, "--pass-path", "/token"];
    let proxy = proxy(&upstream, 9, &args);
    assert_refused(&ask(&proxy, &[], call(1, "search")).await, 401, "a bearer token is required");
    let with_token = [("authorization", "Bearer x"), ("x-answer-status", "404")];
    assert_eq!(send(&proxy, request("GET", "/.well-known/oauth-authorization-server", &with_token, "")).await.status, 404);
    assert_eq!(upstream.last().header("authorization"), "", "tokens are for the proxy");
    assert_eq!(send(&proxy, request("POST", "/token", &[("authorization", "Basic x")], "{}")).await.status, 202);
    assert_eq!(upstream.last().header("authorization"), "Basic x");
    assert_refused(&send(&proxy, request("GET", "/admin", &[], "")).await, 404, "nothing is served at this path");
}

#[tokio::test]
async fn the_endpoint_cannot_be_passed() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("r.json"), resource(json!({"global": bucket(1)}))).expect("the folder is ours");
    for path in ["/mcp", "/mcp/", "/"] {
        let args = ["proxy", "-f", "r.json", "--store", "memory", "--upstream", "http://127.0.0.1:1/mcp", "--pass-path", path];
        let output = command(&folder).args(args).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("--pass-path {path} is the MCP endpoint itself")), "{said}");
    }
}

#[tokio::test]
async fn the_older_stream_s_own_url_does_not_name_the_server() {
    let upstream = Upstream::start().await;
    let limits = resource(json!({"global": bucket(1)}));
    let proxy = Proxy::start(&format!("http://{}/mcp", upstream.address), &limits, &["--store", "memory", "--pass-path", "/sse"]);
    let mut events = send_plain(proxy.address, request("GET", "/sse", &[("accept", "text/event-stream")], "")).await.into_body();
    let stream = upstream.stream().await;
    stream.send(format!("event: endpoint\ndata: http://{}/messages/7\n\n", upstream.address));
    let frame = tokio::time::timeout(super::PATIENCE, http_body_util::BodyExt::frame(&mut events)).await.expect("in time");
    assert_eq!(frame.expect("an event").expect("read").into_data().expect("data"), "event: endpoint\ndata: /messages/7\n\n");
    assert_passed(&send(&proxy, request("POST", "/messages/7", &[], call(1, "search"))).await, "search");
    assert_eq!(send(&proxy, request("POST", "/messages/7", &[], call(2, "search"))).await.status, 202, "denied, on the stream");
    assert_eq!(send(&proxy, request("GET", "/messages/7", &[], "")).await.status, 404);
}
