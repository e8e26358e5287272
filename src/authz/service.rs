//! gRPC: `Authorization/Check` and `Health/Check`, both unary.
//!
//! Messages are charged to a budget while they arrive. If one does not fit, or is too large, the client of Envoy gets our 503 or
//! 413, and nothing waits: Envoy's checks share a connection, and one that is not read would hold up the others. A message that is not what it
//! should be is an error of gRPC, and Envoy's `failure_mode_allow` decides.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    response::Response,
};
use http_body::{Body as HttpBody, Frame};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming, server::Grpc};
use tonic_prost::ProstCodec;

use super::{
    Shared,
    decide::deny,
    wire::{CheckRequest, CheckResponse, HealthCheckRequest, HealthCheckResponse},
};
use crate::{
    gate::answer::{no_room, too_large},
    server::{
        Peer,
        budget::{Budget, Charge, Exhausted},
    },
};

/// The name of the service.
pub(super) const AUTHORIZATION: &str = "envoy.service.auth.v3.Authorization";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// Of a message besides the body in it: header fields, and what Envoy says of itself.
const BESIDE_BODY: usize = 1024 * 1024;
/// For a message to arrive. Envoy has it whole before it sends.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

/// Serves one request of gRPC.
pub(super) async fn serve(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let peer = request.extensions_mut().remove::<Peer>();
    match request.uri().path() {
        CHECK => check(shared, peer, request).await,
        HEALTH => Grpc::new(ProstCodec::default()).client_streaming(Health(shared), request).await.map(Body::new),
        _ => Status::unimplemented("there are Authorization/Check and Health/Check").into_http::<Body>(),
    }
}

async fn check(shared: Arc<Shared>, peer: Option<Peer>, request: Request) -> Response {
    let no_room = Arc::new(AtomicBool::new(false));
    let charge = shared.budget.charge(None);
    let request = request.map(|body| Charged { body, charge, no_room: Arc::clone(&no_room) });
    let most = shared.settings.max_body.saturating_add(BESIDE_BODY);
    let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(most);
    grpc.client_streaming(Check { shared, peer, no_room }, request).await.map(Body::new)
}

struct Check {
    shared: Arc<Shared>,
    peer: Option<Peer>,
    no_room: Arc<AtomicBool>,
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<T>, Status>> + Send>>;

impl tonic::server::ClientStreamingService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = Answer<CheckResponse>;

    fn call(&mut self, request: tonic::Request<Streaming<CheckRequest>>) -> Self::Future {
        let (shared, peer, no_room) = (Arc::clone(&self.shared), self.peer.take(), Arc::clone(&self.no_room));
        Box::pin(async move {
            let mut stream = request.into_inner();
            let response = match only(&mut stream).await {
                Ok(check) => shared.check(check, peer.as_ref()).await,
                Err(_) if no_room.load(Ordering::Relaxed) => deny(self::no_room()).await,
                Err(status) if status.code() == Code::OutOfRange => deny(too_large(shared.settings.max_body)).await,
                Err(status) => return Err(status),
            };
            // Its body is charged until here.
            drop(stream);
            Ok(tonic::Response::new(response))
        })
    }
}

struct Health(Arc<Shared>);

impl tonic::server::ClientStreamingService<HealthCheckRequest> for Health {
    type Response = HealthCheckResponse;
    type Future = Answer<HealthCheckResponse>;

    fn call(&mut self, request: tonic::Request<Streaming<HealthCheckRequest>>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let HealthCheckRequest { service } = only(&mut request.into_inner()).await?;
            if !["", AUTHORIZATION].contains(&service.as_str()) {
                return Err(Status::not_found("unknown service"));
            }
            let status = if shared.is_ready() { SERVING } else { NOT_SERVING };
            Ok(tonic::Response::new(HealthCheckResponse { status }))
        })
    }
}

/// The one message of a request.
async fn only<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let read = async {
        let first = stream.message().await?.ok_or_else(|| Status::invalid_argument("the message is missing"))?;
        match stream.message().await? {
            None => Ok(first),
            Some(_) => Err(Status::invalid_argument("send one message")),
        }
    };
    timeout(ARRIVES_WITHIN, read).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("the message was not received in time")))
}

/// A body whose bytes are charged, and not read without room for them.
struct Charged {
    body: Body,
    charge: Charge,
    no_room: Arc<AtomicBool>,
}

impl HttpBody for Charged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let length = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        if let Err(exhausted @ Exhausted) = self.charge.try_grow(length) {
            self.no_room.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(axum::Error::new(exhausted))));
        }
        Poll::Ready(frame)
    }
}

/// A budget for messages with bodies of up to this size, and up to so many bytes at once; room is left for small ones.
pub(super) fn budget(most: usize, largest: usize) -> Budget {
    const SMALL: usize = 64 * 1024;
    let largest = largest.saturating_add(BESIDE_BODY);
    let most = most.max(largest);
    Budget::new(most).reserve((most / 8).min(most - largest), SMALL)
}
