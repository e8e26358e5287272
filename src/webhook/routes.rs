//! `POST /validate` and `POST /mutate`: from an HTTP request to a review and back, with every limit on the way.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info};

use super::{Shared, intake::Intake, judges::Judges, namespace::namespace, refusal::Refusal};
use crate::{
    admission::{Answer, Ending, Hook, review},
    model::period::parse_go_duration,
};

/// Judged on the threads that serve everyone, in tens of microseconds. Most reviews are; what is larger can take long.
const QUICK: usize = 16 * 1024;

/// What the handlers need.
#[derive(Clone)]
struct Gate {
    shared: Arc<Shared>,
    intake: Arc<Intake>,
    judges: Arc<Judges>,
    deadline: Duration,
}

pub(super) fn router(shared: Arc<Shared>, max_in_flight: usize, deadline: Duration) -> Router {
    let gate = Gate { intake: Arc::new(Intake::new(max_in_flight)), judges: Arc::new(Judges::new()), deadline, shared: shared.clone() };
    let on = |hook: Hook| post(move |State(gate): State<Gate>, request: Request| async move { gate.answer(hook, request).await });
    Router::new()
        .route("/validate", on(Hook::Validate))
        .route("/mutate", on(Hook::Mutate))
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, "reviews come by POST\n") })
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are POST /validate and POST /mutate\n") })
        .with_state(gate)
        .layer(middleware::from_fn_with_state(shared, catch_panics))
}

/// A panic is not a verdict: 500 leaves the decision to the webhook's failurePolicy, and the connection lives.
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
        if !is_json(request.headers()) {
            return Err(Refusal::NotJson);
        }
        let deadline = began + self.deadline.min(asked_timeout(request.uri().query())?.unwrap_or(self.deadline));
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let work = async {
            let body = self.intake.receive(request.into_body(), announced).await?;
            if body.bytes().len() <= QUICK {
                return Ok(self.shared.with_facts(|facts| review(hook, body.bytes(), facts)));
            }
            let client = namespace(body.bytes());
            let shared = self.shared.clone();
            // The body goes along: its place and its bytes are free only when the work is over, whether or not someone still waits.
            let judge = move || shared.with_facts(|facts| review(hook, body.bytes(), facts));
            self.judges.run(&client, judge).await.map_err(|_| Refusal::Late)
        };
        timeout_at(deadline, work).await.map_err(|_| Refusal::Late)?
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// The API server says how long it will wait: `?timeout=2s`.
fn asked_timeout(query: Option<&str>) -> Result<Option<Duration>, Refusal> {
    let asked = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("timeout="));
    let Some(asked) = asked else { return Ok(None) };
    let nanos = parse_go_duration(asked).ok().and_then(|nanos| u64::try_from(nanos).ok()).filter(|nanos| *nanos > 0);
    nanos.map(Duration::from_nanos).map(Some).ok_or(Refusal::BadTimeout)
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
    use std::sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    };

    use axum::{body::Body, routing::get};
    use http_body_util::BodyExt;
    use serde_json::json;
    use tempfile::TempDir;
    use tokio::task::JoinHandle;
    use tower::{Service, ServiceExt};

    use super::*;
    use crate::{
        model::{alias::Mode, operator::Operator, schema::Schema, subject::RefKind},
        rules::References,
        server::tls::{Files, ServerCertificate},
        webhook::{World, metrics::Metrics},
    };

    fn shared(world: World) -> (TempDir, Arc<Shared>) {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
        let files =
            Files { cert: folder.path().join("tls.crt"), key: folder.path().join("tls.key"), client_ca: None, client_names: Vec::new() };
        std::fs::write(&files.cert, pair.cert.pem()).expect("written");
        std::fs::write(&files.key, pair.signing_key.serialize_pem()).expect("written");
        let metrics = Metrics::new(Arc::new(ServerCertificate::open(files).expect("a certificate")), None);
        (folder, Arc::new(Shared { mode: Mode::Rename, world, metrics }))
    }

    #[tokio::test]
    async fn a_panic_is_a_500_and_is_counted() {
        let (_folder, shared) = shared(World::assumed(Schema::assuming(true), Operator::Absent));
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

    /// References that take their time for objects of the namespace "slow": until they are released.
    #[derive(Debug)]
    struct Slow {
        begins: Mutex<Sender<()>>,
        may_end: Mutex<Receiver<()>>,
    }

    impl References for Slow {
        fn exists(&self, _: RefKind, namespace: &str, _: &str) -> Option<bool> {
            if namespace == "slow" {
                let _ = self.begins.lock().expect("no panic while held").send(());
                let _ = self.may_end.lock().expect("no panic while held").recv();
            }
            Some(true)
        }
    }

    /// A router whose reviews of the namespace "slow" take until they are released, and counters of those that have begun.
    fn router_with_slow_reviews(max_in_flight: usize) -> (TempDir, Router, Receiver<()>, Sender<()>) {
        let ((begins, begun), (end, may_end)) = (channel(), channel());
        let slow = Slow { begins: Mutex::new(begins), may_end: Mutex::new(may_end) };
        let (folder, shared) =
            shared(World { references: Some(Arc::new(slow)), ..World::assumed(Schema::assuming(true), Operator::Absent) });
        (folder, router(shared, max_in_flight, Duration::from_secs(30)), begun, end)
    }

    /// A good review from a namespace, with so many bytes of ballast.
    fn post_review(router: &Router, query: &str, namespace: &str, ballast: usize) -> JoinHandle<(StatusCode, String)> {
        let object = json!({"metadata": {"name": "fetch", "namespace": namespace}, "spec": {
            "sessionStorage": {"provider": "redis", "address": "redis:6379"},
            "oidcConfigRef": {"name": "sign-in"},
            "rateLimiting": {"perUser": {"maxTokens": 5, "refillPeriod": "1m0s"}},
            "ballast": "x".repeat(ballast),
        }});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
            "uid": "42", "namespace": namespace, "operation": "CREATE", "object": object,
            "kind": {"group": "toolhive.stacklok.dev", "version": "v1beta1", "kind": "MCPServer"},
        }});
        let review = review.to_string();
        let request = Request::post(format!("/validate{query}")).header("content-type", "application/json");
        let request = request.header("content-length", review.len()).body(Body::from(review)).expect("a request");
        let router = router.clone();
        tokio::spawn(async move {
            let answer = router.oneshot(request).await.expect("no error of its own");
            let status = answer.status();
            let body = answer.into_body().collect().await.expect("whole").to_bytes();
            (status, String::from_utf8_lossy(&body).into_owned())
        })
    }

    const SOON: Duration = Duration::from_secs(20);
    const LARGE: usize = 32 * 1024;

    // On one thread, which would be blocked by a review that is judged on it.
    #[tokio::test]
    async fn a_long_review_has_its_deadline_and_holds_up_no_other() {
        let (_folder, router, begun, end) = router_with_slow_reviews(16);
        let late: Vec<_> = (0..6).map(|_| post_review(&router, "?timeout=1s", "slow", LARGE)).collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        begun.recv_timeout(SOON).expect("one is being judged");
        for (namespace, ballast) in [("default", 0), ("default", LARGE), ("other", 1024 * 1024)] {
            let (status, text) = post_review(&router, "", namespace, ballast).await.expect("no panic");
            assert!(status == StatusCode::OK && text.contains(r#""allowed":true"#), "{status} {text}");
        }
        for late in late {
            let (status, text) = late.await.expect("no panic");
            assert_eq!((status, text.as_str()), (StatusCode::GATEWAY_TIMEOUT, "the review was not finished in time\n"));
        }
        assert!(begun.try_recv().is_err(), "of one namespace, one is judged at a time, and none that no one waits for");
        drop(end);
    }

    #[tokio::test]
    async fn a_late_review_keeps_its_place_until_its_work_is_over() {
        let (_folder, router, begun, end) = router_with_slow_reviews(1);
        let (status, _) = post_review(&router, "?timeout=200ms", "slow", LARGE).await.expect("no panic");
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
        begun.recv_timeout(SOON).expect("it was begun");
        let (status, text) = post_review(&router, "", "default", 0).await.expect("no panic");
        assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "too many reviews at once; try again\n"));
        drop(end);
        let deadline = Instant::now() + SOON;
        while post_review(&router, "", "default", 0).await.expect("no panic").0 != StatusCode::OK {
            assert!(Instant::now() < deadline, "the place is not free again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
