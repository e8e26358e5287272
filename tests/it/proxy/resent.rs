//! Connections to the server that end at a bad moment: who closes an idle one, and which requests are sent again.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{ask, assert_passed, assert_refused, bucket, call, resource};
use crate::support::proxy::Proxy;

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"search"}]}}"#;

/// uvicorn and Node close an idle connection after 5 s, whatever is on its way to them at that moment.
#[tokio::test]
async fn an_idle_connection_is_closed_before_the_server_would() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/mcp", listener.local_addr().expect("bound"));
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the proxy connects");
        let mut buffer = [0; 16 * 1024];
        assert_ne!(stream.read(&mut buffer).await.expect("a request"), 0);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", RESULT.len());
        stream.write_all(format!("{head}{RESULT}").as_bytes()).await.expect("answered");
        timeout(Duration::from_secs(5), stream.read(&mut buffer)).await
    });
    let proxy = Proxy::start(&url, &resource(json!({"global": bucket(9)})), &["--store", "memory"]);
    assert_passed(&ask(&proxy, &[], call(1, "search")).await, "search");
    let read = serving.await.expect("no panic").expect("the proxy closes it within 5 s");
    assert_eq!(read.expect("it ends in order"), 0, "nothing but the end comes");
}

/// What an HTTP/2 server does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answers,
    /// Says that it did not look at the stream.
    Refuses,
    /// Ends the connection, and says that it looked at no stream.
    GoesWithout,
    /// Ends the connection after it looked at the stream.
    GoesWith,
    /// Fails.
    Breaks,
}

/// HTTP/2 with prior knowledge, frame by frame.
struct Server {
    address: SocketAddr,
    /// Requests that came.
    requests: Arc<Mutex<usize>>,
}

impl Server {
    async fn start(script: &[Does]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let script = Arc::new(Mutex::new(VecDeque::from(script.to_vec())));
        let requests = Arc::new(Mutex::new(0));
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&count)));
            }
        });
        Self { address, requests }
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<VecDeque<Does>>>, requests: Arc<Mutex<usize>>) -> io::Result<()> {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    stream.read_exact(&mut [0; 24]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if (head[3], head[4] & 1) == (SETTINGS, 0) {
            stream.write_all(&frame(SETTINGS, 1, 0, &[])).await?;
        }
        if head[3] != HEADERS {
            continue;
        }
        *requests.lock().expect("whole") += 1;
        let does = script.lock().expect("whole").pop_front().expect("it is in the script");
        match does {
            Does::Answers => {
                let fields = [&[0x88, 0x5f, 16][..], b"application/json"].concat();
                let answer = [frame(HEADERS, 4, id, &fields), frame(DATA, 1, id, RESULT.as_bytes())].concat();
                stream.write_all(&answer).await?;
            }
            Does::Refuses => stream.write_all(&frame(RST_STREAM, 0, id, &7_u32.to_be_bytes())).await?,
            Does::Breaks => stream.write_all(&frame(RST_STREAM, 0, id, &2_u32.to_be_bytes())).await?,
            Does::GoesWithout => return leave(stream, &[0; 8]).await,
            Does::GoesWith => return leave(stream, &[id.to_be_bytes(), [0; 4]].concat()).await,
        }
    }
}

/// Sends GOAWAY, and takes what is still under way: a socket that is closed over unread bytes resets the connection, and GOAWAY is lost.
async fn leave(mut stream: TcpStream, payload: &[u8]) -> io::Result<()> {
    const GOAWAY: u8 = 7;
    stream.write_all(&frame(GOAWAY, 0, 0, payload)).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn what_the_server_did_not_look_at_is_sent_again_once_and_nothing_else() {
    use Does::{Answers, Breaks, GoesWith, GoesWithout, Refuses};
    for (script, status, requests) in [
        (&[Refuses, Answers][..], 200, 2),
        (&[GoesWithout, Answers], 200, 2),
        (&[Refuses, Refuses], 502, 2),
        (&[GoesWithout, Refuses], 502, 2),
        // It may have run the tool.
        (&[Breaks], 502, 1),
        (&[GoesWith], 502, 1),
    ] {
        let server = Server::start(script).await;
        let limits = resource(json!({"global": bucket(2)}));
        let proxy = Proxy::start(&format!("h2c://{}/mcp", server.address), &limits, &["--store", "memory"]);
        // Longer than one piece, so that some of it is under way when it is refused.
        let body = format!("{}{}", call(1, "search"), " ".repeat(200_000));
        let answer = ask(&proxy, &[], body).await;
        match status {
            200 => assert_passed(&answer, "search"),
            _ => assert_refused(&answer, 502, "the MCP server did not answer"),
        }
        assert_eq!(*server.requests.lock().expect("whole"), requests, "{script:?}");
    }
}
