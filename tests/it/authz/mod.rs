//! `tollgate authz` behind a real Envoy, beside `tollgate proxy`, and spoken to by hand.

mod alike;
mod bad_input;
mod ends;
mod overload;
mod sdks;
mod servers;
mod stores;
mod text;
mod watch;

use std::net::SocketAddr;

use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    proxy::{PATIENCE, bucket, posted, resource},
    support::{
        authz::Authz,
        envoy::Envoy,
        https::{Answer, send_plain, whole},
        upstream::Upstream,
    },
};

/// A server behind Envoy, whose calls are decided in memory.
struct Behind {
    upstream: Upstream,
    authz: Authz,
    envoy: Envoy,
}

impl Behind {
    /// So many calls pass.
    async fn limited(calls: u32, args: &[&str]) -> Self {
        Self::with(&resource(json!({"global": bucket(calls)})), args).await
    }

    async fn with(resource: &str, args: &[&str]) -> Self {
        let upstream = Upstream::start().await;
        let authz = Authz::start(&[resource], &[&["--store", "memory"], args].concat());
        let envoy = Envoy::start(upstream.address, authz.address);
        Self { upstream, authz, envoy }
    }

    async fn ask(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        ask(self.envoy.address, headers, body).await
    }
}

async fn ask(address: SocketAddr, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    send(address, posted(headers, body)).await
}

async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let answer = async { whole(send_plain(address, request).await).await.expect("a whole answer") };
    timeout(PATIENCE, answer).await.expect("an answer in time")
}
