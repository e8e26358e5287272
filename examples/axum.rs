//! An MCP endpoint in axum with a limit for each user: two calls at once, then one every 30 s. A layer outside the limiter's verifies the
//! caller, here against a list of tokens, and leaves the user in the request's extensions.
//!
//! ```text
//! cargo run --example axum -- 127.0.0.1:8080
//! curl -i http://127.0.0.1:8080/mcp -H 'authorization: Bearer alices' -H 'content-type: application/json' \
//!     -d '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo"}}'
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

use std::{env, error::Error, sync::Arc};

use axum::{
    Json, Router,
    extract::Request,
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn},
    response::Response,
    routing::post,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate::{
    limiter::{Limiter, Policy, ServerId},
    model::{bucket::Bucket, limits::Limits},
    stores::Memory,
    tower::{Mcp, McpLimitLayer},
};

#[derive(Clone)]
struct User(&'static str);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let limits = Limits::new().per_user(Bucket::per_minute(2));
    let limiter = Arc::new(Limiter::new(Memory::default(), Policy::new(&ServerId::new("default", "echo"), &limits)));
    let by_user = Mcp::default().by(|request| request.extensions.get().map(|User(name)| (*name).to_owned()));

    let router = Router::new().route("/mcp", post(answer)).layer(McpLimitLayer::new(limiter, by_user)).layer(from_fn(sign_in));
    let listener = TcpListener::bind(env::args().nth(1).as_deref().unwrap_or("127.0.0.1:8080")).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

/// A real server would verify a signature here.
async fn sign_in(mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let user = match token {
        Some("alices") => User("alice"),
        Some("bobs") => User("bob"),
        _ => return Err(StatusCode::UNAUTHORIZED),
    };
    request.extensions_mut().insert(user);
    Ok(next.run(request).await)
}

async fn answer(Json(call): Json<Value>) -> Json<Value> {
    let arguments = call.pointer("/params/arguments").map(Value::to_string);
    let content = json!([{"type": "text", "text": arguments}]);
    Json(json!({"jsonrpc": "2.0", "id": call.get("id"), "result": {"content": content}}))
}
