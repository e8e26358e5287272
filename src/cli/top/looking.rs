//! Where samples come from: a proxy, or Redis.

use std::{error::Error, time::Duration};

use anyhow::{Context, anyhow, bail, ensure};
use http::{StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;

use crate::{
    inspect::{
        Bounds,
        report::{BucketsReport, Users},
    },
    limiter::Limiter,
    proxy::live::Live,
    stores::Redis,
};

/// Timeout for a sample.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// Far more than a thousand buckets with long names.
const LARGEST_ANSWER: usize = 4 << 20;

/// A source that can be sampled repeatedly.
#[derive(Debug)]
pub(super) enum Looked {
    Proxy(Box<Proxy>),
    Redis(Limiter<Redis>),
}

/// The metrics listener of a proxy.
#[derive(Debug)]
pub(super) struct Proxy {
    buckets: Uri,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Looked {
    /// One sample.
    pub(super) async fn look(&self) -> anyhow::Result<Live> {
        let look = async {
            match self {
                Self::Proxy(proxy) => proxy.look().await,
                Self::Redis(limiter) => in_redis(limiter).await,
            }
        };
        timeout(LOOK_WITHIN, look).await.unwrap_or_else(|_| bail!("no answer within {LOOK_WITHIN:?}"))
    }

    /// Its name for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Proxy(proxy) => format!("the proxy at {}", proxy.buckets.authority().map_or("?", |authority| authority.as_str())),
            Self::Redis(_) => "Redis".to_owned(),
        }
    }
}

impl Proxy {
    /// `http://HOST:PORT`, as `--metrics-listen` of `tollgate proxy` has it.
    pub(super) fn at(url: &str) -> anyhow::Result<Self> {
        let uri = url.parse::<Uri>().ok().filter(|uri| uri.authority().is_some());
        let uri = uri.with_context(|| format!("--proxy {url:?} is not a URL: write http://HOST:PORT, such as http://127.0.0.1:9080"))?;
        ensure!(uri.scheme() == Some(&Scheme::HTTP), "--proxy {url}: that listener speaks plain HTTP: write http://HOST:PORT");
        let buckets = format!("{}/buckets", url.trim_end_matches('/')).parse().context("--proxy")?;
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build_http();
        Ok(Self { buckets, client })
    }

    async fn look(&self) -> anyhow::Result<Live> {
        let response = self.client.get(self.buckets.clone()).await.map_err(|error| {
            let what = if error.is_connect() { "cannot reach" } else { "no answer from" };
            anyhow!("{what} {}: {}", self.buckets, root(&error))
        })?;
        let status = response.status();
        let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
        let has_report = status == StatusCode::OK || status == StatusCode::SERVICE_UNAVAILABLE;
        ensure!(
            has_report && is_json,
            "{} answers {status}: it is not the metrics listener of a tollgate proxy with /buckets",
            self.buckets
        );
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow!("the response of {} ended early: {error}", self.buckets))?.to_bytes();
        serde_json::from_slice(&body).with_context(|| format!("{} does not return buckets", self.buckets))
    }
}

/// The root cause of an error, without the layers above it: lines of a screen are short.
fn root(error: &dyn Error) -> &dyn Error {
    std::iter::successors(Some(error), |error| (*error).source()).last().unwrap_or(error)
}

async fn in_redis(limiter: &Limiter<Redis>) -> anyhow::Result<Live> {
    let report = BucketsReport::of(&limiter.list(Bounds::default()).await?, Users::Named);
    let server = limiter.policy().server_id().clone();
    Ok(Live { server, store: "redis".to_owned(), shadow: false, age_seconds: 0.0, error: None, report, totals: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_url_is_rejected_with_advice() {
        for (url, reason) in [
            ("127.0.0.1:9080", "write http://HOST:PORT"),
            ("/buckets", "is not a URL"),
            ("", "is not a URL"),
            ("https://127.0.0.1:9080", "speaks plain HTTP"),
        ] {
            let error = Proxy::at(url).expect_err(url).to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
        assert_eq!(Proxy::at("http://[::1]:9080/").expect("a URL").buckets, "http://[::1]:9080/buckets");
    }
}
