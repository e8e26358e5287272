//! `rmcp-neighbour client URL` or `rmcp-neighbour server`: what ../README.md describes, on rmcp.

use std::{error::Error, time::Duration};

use rmcp::{
    ClientHandler, RoleClient, ServerHandler,
    handler::server::wrapper::Parameters,
    model::{CallToolRequestParams, CallToolResult, ProtocolVersion, ServerCapabilities, ServerConfig},
    schemars,
    service::{ClientLifecycleMode, ClientServiceExt, RunningService, ServiceError},
    tool, tool_handler, tool_router,
    transport::{
        StreamableHttpClientTransport,
        streamable_http_server::{StreamableHttpService, session::local::LocalSessionManager},
    },
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Caller;

impl ClientHandler for Caller {}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Query {
    q: String,
}

#[derive(Clone)]
struct Finder;

#[tool_router]
impl Finder {
    #[tool(description = "Finds")]
    fn search(&self, Parameters(Query { q }): Parameters<Query>) -> String {
        format!("found {q}")
    }
}

#[tool_handler]
impl ServerHandler for Finder {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["client", url] => client(url).await,
        ["server"] => server().await,
        _ => Err("rmcp-neighbour client URL | server".into()),
    }
}

async fn server() -> Result<(), Box<dyn Error>> {
    let service: StreamableHttpService<Finder, LocalSessionManager> =
        StreamableHttpService::new(|| Ok(Finder), Default::default(), Default::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/mcp", listener.local_addr()?);
    Ok(axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await?)
}

async fn client(url: &str) -> Result<(), Box<dyn Error>> {
    let transport = StreamableHttpClientTransport::from_uri(url);
    let lifecycle =
        ClientLifecycleMode::Auto { preferred_versions: vec![ProtocolVersion::V_2026_07_28, ProtocolVersion::V_2025_11_25], legacy_version: None };
    let session = Caller.serve_with_lifecycle(transport, lifecycle).await?;
    let revision = session.peer_info().map(|server| server.protocol_version.to_string());
    let tools: Vec<_> = session.list_all_tools().await?.into_iter().map(|tool| tool.name).collect();
    let mut report = json!({"revision": revision, "tools": tools, "error": null, "wait": null, "place": null});
    let mut calls = 0;
    while calls < 5 && report["error"].is_null() {
        report = match call(&session).await {
            Ok(result) if result.is_error != Some(true) => {
                calls += 1;
                continue;
            }
            Ok(result) => denied(report, "result", "tool result with isError".to_owned(), &serde_json::to_string(&result)?, None),
            Err(error) => told(report, &error),
        };
    }
    report["calls"] = calls.into();
    report["alive"] = matches!(timeout(PATIENCE, session.list_all_tools()).await, Ok(Ok(_))).into();
    sleep(Duration::from_secs_f64(report["wait"].as_f64().unwrap_or(2.5))).await;
    report["again"] = call(&session).await.is_ok_and(|result| result.is_error != Some(true)).into();
    println!("{report}");
    Ok(())
}

async fn call(session: &RunningService<RoleClient, Caller>) -> Result<CallToolResult, ServiceError> {
    let arguments = json!({"q": "rust"}).as_object().cloned().unwrap_or_default();
    let call = session.call_tool(CallToolRequestParams::new("search").with_arguments(arguments));
    timeout(PATIENCE, call).await.unwrap_or(Err(ServiceError::Timeout { timeout: PATIENCE }))
}

fn told(report: Value, error: &ServiceError) -> Value {
    match error {
        ServiceError::McpError(error) => {
            let wait = error.data.as_ref().and_then(|data| data["retryAfterSeconds"].as_f64());
            denied(report, "data", format!("McpError {}", error.code.0), &error.to_string(), wait)
        }
        ServiceError::TransportSend(error) => denied(report, "text", error.error.to_string(), &format!("{error:?}"), None),
        error => denied(report, "text", error.to_string(), &format!("{error:?}"), None),
    }
}

/// The wait is what the SDK gives as data, else what can be found in a text.
fn denied(mut report: Value, place: &str, error: String, text: &str, wait: Option<f64>) -> Value {
    let after = |mark: &str| text.split(mark).nth(1)?.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse().ok();
    let wait = wait.or_else(|| after("retryAfterSeconds\":")).or_else(|| after("retryAfterSeconds\\\":")).or_else(|| after("Try again in "));
    // On HTTP 429 it keeps no more than the status and the header Retry-After.
    let wait = wait.or_else(|| after("retry_after: Some(\""));
    report["error"] = error.into();
    report["place"] = wait.map(|_| place).into();
    report["wait"] = wait.into();
    report
}
