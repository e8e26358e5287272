//! Memory: the bound for the bodies of all requests together, the answer to those for which there is no room, and that it is freed.

use std::convert::Infallible;

use futures_util::{future::join_all, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Frame, Incoming},
    client::conn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ALL_VERSIONS;
use serde_json::json;
use tokio::{net::TcpStream, time::timeout};

use super::{OURS, PATIENCE, ask, assert_passed, bucket, call, request, resource, sample};
use crate::support::{
    ca::Ca,
    https::{Client, get, send_plain},
    proxy::Proxy,
    serve::command,
    time::eventually,
    upstream::Upstream,
};

const MIB: u64 = 1024 * 1024;
/// One byte is missing, so it never ends.
const ANNOUNCED: usize = 4 * MIB as usize;
/// Buffers of sockets, of connections and of the protocol, for a hundred connections: far less than a body for each.
const SLACK: u64 = 40 * MIB;
const ARGS: [&str; 6] = ["--store", "memory", "--max-buffered-bytes", "16777216", "--body-timeout", "4s"];

/// Room for four bodies of the largest size.
fn resource_of_many() -> String {
    resource(json!({"global": bucket(9999)}))
}

/// A POST whose body announces one byte more than it has.
fn endless() -> Request<impl Body<Data = Bytes, Error = Infallible> + Unpin> {
    let piece = Bytes::from(vec![b' '; 64 * 1024]);
    let frames = stream::unfold(ANNOUNCED - 1, move |left| {
        let piece = piece.slice(..left.min(piece.len()));
        async move {
            match piece.len() {
                0 => std::future::pending().await,
                sent => Some((Ok(Frame::data(piece)), left - sent)),
            }
        }
    });
    let request = Request::post("https://localhost/mcp").header("host", "localhost").header("content-type", "application/json");
    request.header("content-length", ANNOUNCED).body(StreamBody::new(Box::pin(frames))).expect("a request")
}

async fn buffered(proxy: &Proxy) -> u64 {
    let metrics = get(proxy.metrics, "/metrics").await.text();
    sample(&metrics, &format!("tollgate_proxy_buffered_bytes{{{OURS}}}")).unwrap_or_else(|| panic!("{metrics}")) as u64
}

/// The allocator gives pages back to the system on calls of its own, so something has to allocate, as probes and scrapes do in a pod: on
/// each of the workers, hence several requests at once.
async fn given_back(proxy: &Proxy, before: u64) {
    eventually("the memory to be given back", async || {
        join_all((0..8).map(|_| buffered(proxy))).await;
        proxy.memory() < before + SLACK / 2
    })
    .await;
}

/// While bodies take up all the room: how much that is, and that nobody else is disturbed. Then the memory is there again.
async fn assert_bounded(proxy: &Proxy, upstream: &Upstream, before: u64, answers: impl Future<Output = Vec<Response<Incoming>>>) {
    let mut events = send_plain(proxy.address, request("GET", "/mcp", &[], "")).await;
    let stream = upstream.stream().await;
    let witness = async {
        // Until as many are there as there is room for.
        eventually("bodies", async || buffered(proxy).await >= 14 * MIB - 2 * 4 * MIB).await;
        for id in 0..10 {
            let (held, used) = (buffered(proxy).await, proxy.memory());
            assert!(held <= 16 * MIB, "{held} bytes of bodies");
            assert!(used < before + 16 * MIB + SLACK, "{before} bytes before, {used} with bodies of {held} bytes");
            assert_passed(&ask(proxy, &[], call(id, "search")).await, "search");
            stream.send("data: 1\n\n");
            let event = timeout(PATIENCE, events.body_mut().frame()).await.expect("in time").expect("it goes on").expect("whole");
            assert_eq!(event.into_data().expect("data"), "data: 1\n\n");
        }
    };
    let (answers, ()) = tokio::join!(answers, witness);
    let (mut late, mut no_room) = (0, 0);
    for answer in &answers {
        match answer.status().as_u16() {
            408 => late += 1,
            503 => {
                assert_eq!(answer.headers()["retry-after"], "5");
                no_room += 1;
            }
            status => panic!("{status}"),
        }
    }
    assert!(late > 0 && no_room > 0, "{late} had room, {no_room} had none");
    drop(answers);
    given_back(proxy, before).await;
    assert_eq!(buffered(proxy).await, 0);
    assert_passed(&ask(proxy, &[], format!("{}{}", call(11, "search"), " ".repeat(3 << 20))).await, "search");
    assert!(!proxy.log().contains("panicked"), "{}", proxy.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_slow_bodies_have_the_memory_of_four() {
    let upstream = Upstream::start().await;
    let proxy = Proxy::start(&upstream.url(), &resource_of_many(), &ARGS);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    let before = proxy.memory();
    let sent = (0..100).map(|_| async {
        let stream = TcpStream::connect(proxy.address).await.expect("the port is open");
        let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        sender.send_request(endless()).await.expect("an answer")
    });
    assert_bounded(&proxy, &upstream, before, join_all(sent)).await;
}

/// Many streams, all together or on a few connections each: what a connection buffers of bodies that nobody reads yet counts as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_http_2_have_the_memory_of_four_bodies() {
    let (upstream, ca, folder) = (Upstream::start().await, Ca::root("root"), tempfile::tempdir().expect("a folder"));
    let (cert, key) = ca.pair();
    let files = [("tls.crt", &cert), ("tls.key", &key)].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the folder is ours");
        path.display().to_string()
    });
    let args = [&ARGS[..], &["--tls-cert", &files[0], "--tls-key", &files[1]]].concat();
    for (connections, streams) in [(1, 60), (64, 4)] {
        let proxy = Proxy::start(&upstream.url(), &resource_of_many(), &args);
        let client = Client::with(proxy.address, &ca.pem, ALL_VERSIONS, "h2", None);
        assert_passed(&client.post("/mcp", call(1, "search")).await, "search");
        let before = proxy.memory();
        let mut senders = Vec::new();
        for _ in 0..connections {
            let stream = client.connect().await.expect("TLS");
            let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
            tokio::spawn(connection);
            senders.extend(std::iter::repeat_n(sender, streams));
        }
        let sent =
            join_all(senders.iter().cloned().map(|mut sender| async move { sender.send_request(endless()).await.expect("an answer") }));
        let witness = async {
            eventually("bodies", async || buffered(&proxy).await >= 6 * MIB).await;
            for id in 0..10 {
                let (held, used) = (buffered(&proxy).await, proxy.memory());
                assert!(held <= 16 * MIB, "{held} bytes of bodies");
                assert!(used < before + 16 * MIB + SLACK, "{connections}: {before} bytes before, {used} with bodies of {held} bytes");
                assert_passed(&client.post("/mcp", call(id, "search")).await, "search");
            }
        };
        let (answers, ()) = tokio::join!(sent, witness);
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status().as_u16()).collect();
        assert!(statuses.iter().all(|status| [408, 503].contains(status)) && statuses.contains(&503), "{statuses:?}");
        drop((answers, senders));
        given_back(&proxy, before).await;
        assert_eq!(buffered(&proxy).await, 0);
    }
}

#[tokio::test]
async fn room_for_less_than_one_body_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("server.yaml"), resource_of_many()).expect("written");
    let args = ["proxy", "-f", "server.yaml", "--upstream", "http://127.0.0.1:1", "--store", "memory", "--max-buffered-bytes", "1000"];
    let output = command(&folder).args(args).output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--max-buffered-bytes 1000 is less than --max-body 4194304"), "{said}");
}
