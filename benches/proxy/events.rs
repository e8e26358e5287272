//! The MCP server behind streams: it answers whatever comes with a stream, sends one event, and keeps the answer open.

use std::{io::Write, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
/// 0x4b bytes in a chunk.
const EVENT: &[u8] = b"4b\r\nid: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n\r\n";

/// Serves until it is killed. Prints its address, as tollgate does.
pub(super) async fn run() -> anyhow::Result<()> {
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "events come from http://{}/", socket.local_addr()?)?;
    loop {
        match socket.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream))),
            // Out of file descriptors: some will come back.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// How a connection ends is the client's business.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    }
    // Two packets, as from a server that has something to say a little later.
    stream.write_all(HEAD).await?;
    stream.write_all(EVENT).await?;
    while stream.read_buf(&mut received).await? > 0 {}
    Ok(())
}
