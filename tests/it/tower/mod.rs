//! The limiter around tower services.

mod mcp;
mod service;

use std::{future::Future, sync::Arc};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes};
use serde_json::{Value, json};
use tollgate::{
    limiter::{Cause, Limiter, Plan, Policy, ServerId, Store, StoreAnswer, StoreError},
    model::{bucket::Bucket, limits::Limits},
    stores::Memory,
};

/// So many calls an hour for each user, and as many for nobody.
fn limits(max_tokens: u32) -> Policy {
    let bucket = Bucket::read(&json!({"maxTokens": max_tokens, "refillPeriod": "1h"})).ok();
    let tools = [("shared".to_owned(), tollgate::model::limits::ToolLimits { global: bucket, per_user: None })];
    Policy::new(&ServerId::new("ns", "mcp"), &Limits { global: None, per_user: bucket, tools: tools.into() })
}

fn limiter(max_tokens: u32) -> Arc<Limiter<Memory>> {
    Arc::new(Limiter::new(Memory::default(), limits(max_tokens)))
}

/// A store that never says anything, or that it failed.
#[derive(Debug)]
enum Away {
    Silent,
    Failing,
}

impl Store for Away {
    async fn take(&self, _: &Plan<'_>) -> Result<StoreAnswer, StoreError> {
        self.probe().await?;
        Err(StoreError::unknown(Cause::Other, "it said nothing"))
    }

    fn probe(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        let silent = matches!(self, Self::Silent);
        async move {
            if silent {
                std::future::pending::<()>().await;
            }
            Err(StoreError::untaken(Cause::Connection, "redis.internal:6379 is away"))
        }
    }
}

fn call(tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}}).to_string()
}

/// A POST of JSON.
fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/mcp").header("content-type", "application/json").body(Full::new(body.into())).expect("a request")
}

async fn bytes<B: Body>(body: B) -> Bytes {
    body.collect().await.unwrap_or_else(|_| panic!("the body breaks off")).to_bytes()
}

async fn json_of<B: Body>(response: Response<B>) -> Value {
    serde_json::from_slice(&bytes(response.into_body()).await).expect("JSON")
}
