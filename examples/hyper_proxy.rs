//! A bare hyper proxy in front of an MCP server, with the limiter inside: ten calls of any tool a minute, two of `search` at once.
//!
//! `cargo run --example hyper_proxy -- 127.0.0.1:8080 127.0.0.1:9000`; with `redis://127.0.0.1` added, proxies share their buckets.

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::{env, error::Error, mem, sync::Arc};

use http::{Request, Uri, header::HOST, uri::Authority, uri::Scheme};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{client::legacy::Client, rt::TokioExecutor, rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tollgate::limiter::{Limiter, Policy, ServerId, Store};
use tollgate::model::{
    bucket::Bucket,
    limits::{Limits, ToolLimits},
};
use tollgate::stores::{Guard, GuardSettings, Memory, Redis, redis::RedisSettings};
use tollgate::tower::{Body, Mcp, McpLimitLayer};
use tower::{ServiceBuilder, ServiceExt};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [listen, upstream] => serve(listen, upstream, Memory::default()).await,
        [listen, upstream, redis] => {
            let store = Redis::new(&RedisSettings::parse(redis)?)?;
            serve(listen, upstream, Guard::new(store, GuardSettings::default())).await
        }
        _ => Err("usage: hyper_proxy LISTEN UPSTREAM [REDIS-URL]".into()),
    }
}

async fn serve(listen: &str, upstream: &str, store: impl Store + 'static) -> Result<(), Failure> {
    let limits = Limits::new().global(Bucket::per_minute(10)).tool("search", ToolLimits::new().global(Bucket::per_minute(2)));
    let limiter = Limiter::new(store, Policy::new(&ServerId::new("default", "search"), &limits));
    let client = Client::builder(TokioExecutor::new()).build_http::<Body<Incoming>>();
    let authority: Authority = upstream.parse()?;
    let to_upstream = move |mut request: Request<Body<Incoming>>| {
        let mut parts = mem::take(request.uri_mut()).into_parts();
        (parts.scheme, parts.authority) = (Some(Scheme::HTTP), Some(authority.clone()));
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request.headers_mut().remove(HOST);
        request
    };
    let service = ServiceBuilder::new().layer(McpLimitLayer::new(Arc::new(limiter), Mcp::default()));
    let service = service.service(client.map_request(to_upstream));

    let listener = TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone())));
    }
}
