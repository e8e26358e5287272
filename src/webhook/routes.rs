//! `POST /validate` and `POST /mutate`: from an HTTP request to a review and back, with every limit on the way.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::FutureExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tracing::{error, info};

use super::Shared;
use crate::{
    admission::{Answer, Ending, Hook, review},
    config::period::parse_go_duration,
};

/// As in controller-runtime: an update carries two objects of up to 3 MiB each.
const LARGEST_BODY: usize = 7 * 1024 * 1024;
/// Bodies above this are rare and cost memory and time. A few may come in at once, so that a slow one does not hold up the others; fewer are
/// judged at once, which takes several times a body's memory, and off the threads that serve everybody else.
const LARGE_BODY: usize = 256 * 1024;
const LARGE_READ_AT_ONCE: usize = 8;
const LARGE_JUDGED_AT_ONCE: usize = 2;

/// What the handlers need.
#[derive(Clone)]
struct Gate {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    large_read: Arc<Semaphore>,
    large_judged: Arc<Semaphore>,
    deadline: Duration,
}

pub(super) fn router(shared: Arc<Shared>, max_in_flight: usize, deadline: Duration) -> Router {
    let gate = Gate {
        slots: Arc::new(Semaphore::new(max_in_flight)),
        large_read: Arc::new(Semaphore::new(LARGE_READ_AT_ONCE)),
        large_judged: Arc::new(Semaphore::new(LARGE_JUDGED_AT_ONCE)),
        deadline,
        shared: shared.clone(),
    };
    let on = |hook: Hook| post(move |State(gate): State<Gate>, request: Request| async move { gate.answer(hook, request).await });
    Router::new()
        .route("/validate", on(Hook::Validate))
        .route("/mutate", on(Hook::Mutate))
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, "reviews come by POST\n") })
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are POST /validate and POST /mutate\n") })
        .with_state(gate)
        .layer(middleware::from_fn_with_state(shared, catch_panics))
}

/// A panic is no verdict: 500 leaves the decision to the webhook's failurePolicy, and the connection lives.
async fn catch_panics(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            shared.metrics.panicked();
            error!("a handler panicked");
            (StatusCode::INTERNAL_SERVER_ERROR, "tollgate failed on this review; its log says where\n").into_response()
        }
    }
}

/// Why a request does not get as far as a review.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Overloaded,
    NotJson,
    BadTimeout,
    TooLarge,
    Cut,
    Late,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "too many reviews at once; try again\n"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "reviews are sent as Content-Type: application/json\n"),
            Self::BadTimeout => (StatusCode::BAD_REQUEST, "timeout is a Go duration above zero, such as 10s\n"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "reviews have at most 7 MiB\n"),
            Self::Cut => (StatusCode::BAD_REQUEST, "the body ended before its end\n"),
            Self::Late => (StatusCode::GATEWAY_TIMEOUT, "the review was not finished in time\n"),
        };
        let mut response = (status, text).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl Gate {
    async fn answer(&self, hook: Hook, request: Request) -> Response {
        let began = Instant::now();
        let metrics = &self.shared.metrics;
        let _in_flight = metrics.begin();
        let answer = match self.review(hook, request, began).await {
            Ok(answer) => answer,
            Err(refusal) => {
                let response = refusal.into_response();
                metrics.refused(hook, response.status());
                return response;
            }
        };
        metrics.reviewed(hook, &answer.record, began.elapsed());
        log(hook, &answer);
        let content_type = if answer.status == 200 { "application/json" } else { "text/plain; charset=utf-8" };
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, content_type)], answer.body).into_response()
    }

    async fn review(&self, hook: Hook, request: Request, began: Instant) -> Result<Answer, Refusal> {
        let _slot = self.slots.try_acquire().map_err(|_| Refusal::Overloaded)?;
        if !is_json(request.headers()) {
            return Err(Refusal::NotJson);
        }
        let deadline = began + self.deadline.min(asked_timeout(request.uri().query())?.unwrap_or(self.deadline));
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: usize| length > LARGEST_BODY) {
            return Err(Refusal::TooLarge);
        }
        let work = async {
            // Of a body without a length, the worst is expected.
            let is_large = length.is_none_or(|length| length > LARGE_BODY);
            let _read = if is_large { self.large_read.acquire().await.ok() } else { None };
            let body = read(request.into_body()).await?;
            if body.len() <= LARGE_BODY {
                return Ok(self.shared.with_facts(|facts| review(hook, &body, facts)));
            }
            let _judged = self.large_judged.acquire().await.ok();
            let shared = self.shared.clone();
            let reviewed = tokio::task::spawn_blocking(move || shared.with_facts(|facts| review(hook, &body, facts))).await;
            match reviewed {
                Ok(answer) => Ok(answer),
                Err(failed) => match failed.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Err(Refusal::Late),
                },
            }
        };
        timeout_at(deadline, work).await.map_err(|_| Refusal::Late)?
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// The API server tells how long it will wait: `?timeout=2s`.
fn asked_timeout(query: Option<&str>) -> Result<Option<Duration>, Refusal> {
    let asked = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("timeout="));
    let Some(asked) = asked else { return Ok(None) };
    let nanos = parse_go_duration(asked).ok().and_then(|nanos| u64::try_from(nanos).ok()).filter(|nanos| *nanos > 0);
    nanos.map(Duration::from_nanos).map(Some).ok_or(Refusal::BadTimeout)
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Err(_) => Err(Refusal::Cut),
    }
}

/// One line for each review that was refused or could not be read. Never what the object says.
fn log(hook: Hook, answer: &Answer) {
    let record = &answer.record;
    if !matches!(record.verdict, Ending::Denied | Ending::Malformed) {
        return;
    }
    let denying: Vec<_> = record.rules.iter().filter(|(_, denies)| *denies).map(|(rule, _)| *rule).collect();
    info!(
        hook = hook.name(),
        operation = record.operation,
        kind = record.kind,
        namespace = record.namespace,
        name = record.name,
        rules = denying.join(","),
        dry_run = record.dry_run,
        "{}",
        record.verdict.name(),
    );
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tower::Service;

    use super::*;
    use crate::{
        config::{operator::Operator, rename::Mode, schema::Schema},
        listener::tls::{Files, Identity},
        webhook::{World, metrics::Metrics},
    };

    #[tokio::test]
    async fn a_panic_is_a_500_and_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
        let files =
            Files { cert: folder.path().join("tls.crt"), key: folder.path().join("tls.key"), client_ca: None, client_names: Vec::new() };
        std::fs::write(&files.cert, pair.cert.pem()).expect("written");
        std::fs::write(&files.key, pair.signing_key.serialize_pem()).expect("written");
        let metrics = Metrics::new(Arc::new(Identity::open(files).expect("an identity")));
        let shared = Arc::new(Shared { mode: Mode::Rename, world: World::told(Schema::told(true), Operator::Absent), metrics });
        async fn panics() -> &'static str {
            panic!("as a bug would")
        }
        let mut router: Router = Router::new().route("/", get(panics)).layer(middleware::from_fn_with_state(shared.clone(), catch_panics));
        for count in 1..=2 {
            let response = router.call(Request::new(Body::empty())).await.expect("no error of its own");
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let metrics = shared.metrics.encode().expect("text");
            assert!(metrics.contains(&format!("tollgate_admission_panics_total {count}")), "{metrics}");
        }
    }

    #[test]
    fn timeouts_are_go_durations() {
        assert_eq!(asked_timeout(None), Ok(None));
        assert_eq!(asked_timeout(Some("a=b&timeout=2s")), Ok(Some(Duration::from_secs(2))));
        for bad in ["timeout=", "timeout=2", "timeout=-2s", "timeout=0s"] {
            assert_eq!(asked_timeout(Some(bad)), Err(Refusal::BadTimeout), "{bad}");
        }
    }
}
