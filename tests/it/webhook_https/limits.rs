//! The size limit of bodies, to the byte.

use std::convert::Infallible;

use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Request,
    body::{Bytes, Frame},
    client::conn,
};
use hyper_util::rt::TokioIo;
use rustls::version::TLS13;
use serde_json::json;

use super::{assert_refused, assert_serves, bucket, client, object, response, review};
use crate::support::{
    https::{Answer, Client},
    serve::Serve,
};

const LARGEST: usize = 7 * 1024 * 1024;
const TOO_LARGE: &str = "reviews have at most 7 MiB";

/// A good review of exactly so many bytes.
fn review_of_size(size: usize) -> String {
    let mut padded = review(object(json!({"global": bucket()})));
    let bare = padded.to_string().len() + r#","padding":"""#.len();
    padded["request"]["object"]["spec"]["padding"] = "x".repeat(size - bare).into();
    let body = padded.to_string();
    assert_eq!(body.len(), size);
    body
}

/// Posts bytes in chunks, without saying how many there will be.
async fn post_chunked(client: &Client, body: Vec<u8>) -> Answer {
    let frames: Vec<_> = body.chunks(64 * 1024).map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = Request::post("/validate").header("host", "localhost").header("content-type", "application/json");
    let stream = client.connect().await.expect("a handshake");
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request.body(body).expect("a request")).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a whole answer").to_bytes();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

#[tokio::test]
async fn a_review_of_exactly_the_limit_is_judged() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let body = review_of_size(LARGEST);
    assert_eq!(response(&client.post("/validate", body.clone()).await)["allowed"], true);
    assert_eq!(response(&post_chunked(&client, body.into_bytes()).await)["allowed"], true);
    assert_serves(&client).await;
}

#[tokio::test]
async fn one_byte_more_than_the_limit_is_refused() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let body = review_of_size(LARGEST + 1);
    assert_refused(&client.post("/validate", body.clone()).await, 413, TOO_LARGE);
    assert_refused(&post_chunked(&client, body.into_bytes()).await, 413, TOO_LARGE);
    assert_serves(&client).await;
}

#[tokio::test]
async fn twenty_mebibytes_are_refused_and_the_client_hears_why() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let body = vec![b' '; 20 * 1024 * 1024];
    assert_refused(&client.post("/validate", body.clone()).await, 413, TOO_LARGE);
    assert_refused(&post_chunked(&client, body.clone()).await, 413, TOO_LARGE);
    let http2 = Client::with(server.address, &server.ca(), &[&TLS13], "h2", None);
    assert_refused(&http2.post("/validate", body).await, 413, TOO_LARGE);
    assert_serves(&client).await;
}

#[test]
fn curl_hears_of_a_body_that_is_too_large_before_it_has_sent_it() {
    let server = Serve::start(&[]);
    std::fs::write(server.folder.path().join("large"), vec![b' '; 20 * 1024 * 1024]).expect("written");
    let url = format!("https://{}/validate", server.address);
    for protocol in ["--http1.1", "--http2"] {
        for header in ["Expect:", "Transfer-Encoding: chunked"] {
            let output = std::process::Command::new("curl")
                .current_dir(server.folder.path())
                .args(["-sS", protocol, "--cacert", "certs/dev/ca.crt", "-H", "Expect:", "-H", header])
                .args(["-H", "Content-Type: application/json", "--data-binary", "@large", &url])
                .output()
                .expect("curl is there");
            let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(stdout.contains(TOO_LARGE), "{protocol} {header}: {stdout:?} {stderr:?}");
        }
    }
}
