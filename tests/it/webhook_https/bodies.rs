//! Many bodies that stop halfway, and their effect on other clients.

use std::{convert::Infallible, fs, time::Duration};

use futures_util::{StreamExt, stream};
use http_body_util::StreamBody;
use hyper::{
    Request,
    body::{Bytes, Frame},
    client::conn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{assert_serves, bucket, client, good_review, http2, object, response, review};
use crate::{
    chart::text,
    support::{
        https::Client,
        pages::root,
        serve::Serve,
        time::{eventually, moment},
    },
};

const MIB: usize = 1024 * 1024;

/// Opens an HTTP/2 connection with requests that announce a body, send the beginning and stop. Open until it is dropped.
async fn stall(client: Client, streams: usize, announced: usize, sent: usize) -> JoinSet<()> {
    let stream = client.connect().await.expect("a handshake");
    let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    let mut held = JoinSet::new();
    held.spawn(async move { drop(connection.await) });
    for _ in 0..streams {
        let chunk = Bytes::from(vec![b' '; sent.min(64 * 1024)]);
        let frames = stream::iter((0..sent / chunk.len().max(1)).map(move |_| Ok::<_, Infallible>(Frame::data(chunk.clone()))))
            .chain(stream::pending());
        let request = Request::post("https://localhost/validate").header("content-type", "application/json");
        let request = request.header("content-length", announced).body(StreamBody::new(frames.boxed())).expect("a request");
        let sent = sender.send_request(request);
        held.spawn(async move { drop(sent.await) });
    }
    held
}

/// What the manifests allow a pod, in bytes.
fn memory_limit() -> u64 {
    let manifest = fs::read_to_string(root().join("manifests/base/deployment.yaml")).expect("shipped");
    let deployment: Value = serde_saphyr::from_str(&manifest).expect("YAML");
    let limit = text(&deployment, "/spec/template/spec/containers/0/resources/limits/memory");
    limit.strip_suffix("Mi").and_then(|mib| mib.parse::<u64>().ok()).expect("in MiB") * MIB as u64
}

/// The UPDATE of a server that is filled with values, which take little room in JSON and much more when they are decoded.
fn filled(limits: Value, address: Value) -> Value {
    let mut object = object(limits);
    object["spec"]["sessionStorage"]["address"] = address;
    let mut review = review(object.clone());
    review["request"]["operation"] = "UPDATE".into();
    review["request"]["oldObject"] = object;
    review
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_reviews_together_fit_into_a_pod() {
    let tools = || (0..16_384).map(|at| json!({"name": format!("t{at}"), "shared": bucket()})).collect::<Value>();
    let limits = || json!({"global": bucket()});
    for (about, mut review) in [
        ("tools", filled(json!({"tools": tools()}), json!("redis:6379"))),
        ("as many numbers as may be", filled(limits(), vec![0; (1 << 20) - 1000].into())),
        ("more numbers", filled(limits(), vec![0; 1_700_000].into())),
        ("maps", filled(limits(), vec![json!({"": 0}); 400_000].into())),
    ] {
        let server = Serve::start(&[]);
        let client = client(&server);
        assert_serves(&client).await;
        let mut sent = JoinSet::new();
        // Two are judged at once, and not of the same namespace.
        for path in ["/mutate", "/validate"] {
            review["request"]["namespace"] = path.replace('/', "of-").into();
            let (client, body) = (client.clone(), review.to_string());
            sent.spawn(async move { client.post(path, body).await });
        }
        let mut most = 0;
        while !sent.is_empty() {
            most = most.max(server.memory());
            let _ = tokio::time::timeout(Duration::from_millis(1), sent.join_next()).await;
        }
        assert!(most < memory_limit(), "{about}: {} MiB", most / MIB as u64);
        assert_serves(&client).await;
    }
}

#[tokio::test]
async fn half_sent_bodies_have_a_bound_together_and_keep_no_one_out() {
    let server = Serve::start(&[]);
    let (client, http2) = (client(&server), http2(&server));
    assert_serves(&client).await;
    let before = server.resident();
    let mut held = Vec::new();
    while held.len() < 128 {
        let connections: JoinSet<_> = (0..8).map(|_| stall(http2.clone(), 2, 7 * MIB, MIB)).collect();
        held.extend(connections.join_all().await);
        assert_serves(&client).await;
    }
    for _ in 0..20 {
        assert_serves(&client).await;
        // The budget, and what connections take by themselves.
        let more = server.resident().saturating_sub(before);
        assert!(more < 80 * MIB, "{} MiB more are resident", more / MIB);
        assert!(server.memory() < memory_limit());
        moment().await;
    }
    drop(held);
    eventually("memory to be given back", async || {
        assert_serves(&client).await;
        server.resident() <= before + 24 * MIB
    })
    .await;
}

#[tokio::test]
async fn bodies_of_large_reviews_that_stall_give_way_to_whole_ones() {
    let server = Serve::start(&[]);
    let http2 = http2(&server);
    // Enough to take all places of large bodies, and all bytes.
    let _held = [stall(http2.clone(), 50, 7 * MIB, MIB).await, stall(http2.clone(), 50, 7 * MIB, MIB).await];
    // A body gives way once it has been on its way for a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut large: serde_json::Value = serde_json::from_str(&good_review()).expect("JSON");
    large["request"]["object"]["spec"]["padding"] = "x".repeat(MIB).into();
    let answer = client(&server).post("/validate", large.to_string()).await;
    assert_eq!(response(&answer)["allowed"], true);
}
