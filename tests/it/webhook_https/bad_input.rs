//! Bodies that are not reviews, reviews that cannot be read, objects of the wrong shape, and bytes that are not requests.

use http_body_util::Full;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};

use super::{UID, assert_refused, assert_serves, bucket, client, good_review, object, response, review};
use crate::support::serve::Serve;

const HOOKS: [&str; 2] = ["/validate", "/mutate"];

fn edited(pointer: &str, value: Value) -> Vec<u8> {
    let mut review = review(object(json!({"global": bucket()})));
    *review.pointer_mut(pointer).expect("it is in a review") = value;
    review.to_string().into_bytes()
}

fn without(parent: &str, key: &str) -> Vec<u8> {
    let mut review = review(object(json!({"global": bucket()})));
    review.pointer_mut(parent).and_then(Value::as_object_mut).expect("a map of a review").remove(key).expect("a key of it");
    review.to_string().into_bytes()
}

#[tokio::test]
async fn bytes_that_are_no_review_get_400_and_a_reason() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let cases: [(Vec<u8>, &str); 13] = [
        (b"".into(), "not an admission review: the body is empty"),
        (b"\xff\xfe\x00\x01 tollgate".into(), "not an admission review: invalid utf-8 sequence"),
        (b"null".into(), "not an admission review: invalid type: null"),
        (b"{\"apiVersion\":".into(), "not an admission review: EOF while parsing"),
        (b"{}".into(), "it is \"\" \"\"; register the webhook with admissionReviewVersions: [v1]"),
        (edited("/apiVersion", json!("admission.k8s.io/v1beta1")), "it is \"admission.k8s.io/v1beta1\" \"AdmissionReview\"; register"),
        (edited("/kind", json!("ConversionReview")), "it is \"admission.k8s.io/v1\" \"ConversionReview\"; register"),
        (without("", "request"), "not an admission review: request is missing"),
        (edited("/request", Value::Null), "not an admission review: request is missing"),
        (edited("/request", json!("please")), "not an admission review: invalid type: string \"please\""),
        (without("/request", "uid"), "not an admission review: request.uid is missing"),
        (edited("/request/uid", json!("")), "not an admission review: request.uid is missing"),
        (edited("/request/uid", json!(7)), "not an admission review: invalid type: integer `7`, expected a string"),
    ];
    for (body, text) in cases {
        for hook in HOOKS {
            assert_refused(&client.post(hook, body.clone()).await, 400, text);
        }
    }
    assert_serves(&client).await;
}

/// A review with a uid whose request cannot be judged: /validate denies under that uid, /mutate lets it pass and says so.
async fn assert_unreadable(server: &Serve, body: &[u8], text: &str) {
    let client = client(server);
    let validated = response(&client.post("/validate", body.to_vec()).await);
    assert_eq!(validated["allowed"], false, "{validated}");
    assert_eq!(validated["status"]["code"], 400, "{validated}");
    assert_eq!(validated["status"]["reason"], "BadRequest", "{validated}");
    let message = validated["status"]["message"].as_str().expect("a message");
    assert!(message.contains(text), "{message:?} does not say {text:?}");
    let mutated = response(&client.post("/mutate", body.to_vec()).await);
    assert_eq!(mutated["allowed"], true, "{mutated}");
    assert_eq!(mutated["patch"], Value::Null, "{mutated}");
    let warning = mutated["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("tollgate did not process this object: "), "{warning}");
    assert!(warning.chars().count() <= 256, "{warning}");
}

#[tokio::test]
async fn a_review_that_breaks_after_its_uid_is_denied_under_that_uid() {
    let server = Serve::start(&[]);
    let head = format!(r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"{UID}","#);
    let truncated = format!(r#"{head}"operation":"CREATE","object":{{"spec":{{"rateLim"#);
    assert_unreadable(&server, truncated.as_bytes(), "the review cannot be decoded: EOF while parsing a string").await;
    let of_wrong_type = format!(r#"{head}"operation":["CREATE"]}}}}"#);
    assert_unreadable(&server, of_wrong_type.as_bytes(), "invalid type: sequence, expected a string").await;
    let with_bad_bytes = [head.as_bytes(), b"\"name\":\"\xff\xfe\"}}"].concat();
    assert_unreadable(&server, &with_bad_bytes, "invalid utf-8 sequence").await;
    assert_serves(&client(&server)).await;
}

#[tokio::test]
async fn nesting_without_end_is_denied_and_overflows_nothing() {
    let server = Serve::start(&[]);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let uid_first = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"{UID}","object":{{"spec":{deep}}}}}}}"#
    );
    let uid_last = format!(r#"{{"request":{{"object":{{"spec":{deep}}},"uid":"{UID}"}}}}"#);
    for body in [uid_first, uid_last] {
        assert_unreadable(&server, body.as_bytes(), "recursion limit exceeded").await;
    }
    let unclosed = "[".repeat(100_000);
    assert_refused(&client(&server).post("/validate", unclosed).await, 400, "not an admission review: invalid type: sequence");
    assert_serves(&client(&server)).await;
}

#[tokio::test]
async fn an_object_that_is_none_is_denied() {
    let server = Serve::start(&[]);
    for (object, text) in [
        (Value::Null, "request.object is null, not an object"),
        (json!("fetch"), "request.object is a string, not an object"),
        (json!(1.5), "request.object is a number, not an object"),
        (json!(true), "request.object is a boolean, not an object"),
        (json!([1]), "request.object is a list, not an object"),
    ] {
        assert_unreadable(&server, review(object).to_string().as_bytes(), text).await;
    }
    let absent = without("/request", "object");
    assert_unreadable(&server, &absent, "request.object is null, not an object").await;
    assert_serves(&client(&server)).await;
}

#[tokio::test]
async fn limits_of_the_wrong_shape_are_denied_by_the_rule_that_says_so() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let global = |bucket: Value| json!({"global": bucket});
    for (limits, rule, field, text) in [
        (json!("fast"), "TG003", "spec.rateLimiting", "is a string: write a map"),
        (json!([bucket()]), "TG003", "spec.rateLimiting", "is a list: write a map"),
        (json!(false), "TG003", "spec.rateLimiting", "is a boolean: write a map"),
        (json!({}), "TG003", "spec.rateLimiting", "limits nothing"),
        (json!({"tools": {"search": bucket()}}), "TG005", "spec.rateLimiting.tools", "is a map: write a list"),
        (json!({"tools": ["search"]}), "TG004", "spec.rateLimiting.tools[0]", "is a string: write a map"),
        (json!({"tools": [{"global": bucket()}]}), "TG005", "spec.rateLimiting.tools[0].name", "is missing"),
        (global(json!(5)), "TG006", "spec.rateLimiting.global", "is a number, not a bucket"),
        (global(json!({"maxTokens": "5", "refillPeriod": "1m"})), "TG006", "spec.rateLimiting.global.maxTokens", "is the string \"5\""),
        (global(json!({"maxTokens": 1.5, "refillPeriod": "1m"})), "TG006", "spec.rateLimiting.global.maxTokens", "is 1.5"),
        (global(json!({"maxTokens": 1e300, "refillPeriod": "1m"})), "TG006", "spec.rateLimiting.global.maxTokens", "is 1e+300"),
        (
            global(json!({"maxTokens": i64::MIN, "refillPeriod": "1m"})),
            "TG006",
            "spec.rateLimiting.global.maxTokens",
            "is -9223372036854775808",
        ),
        (global(json!({"maxTokens": 5, "refillPeriod": 60})), "TG007", "spec.rateLimiting.global.refillPeriod", "is the number 60"),
        (global(json!({"maxTokens": 5, "refillPeriod": "1s-5s"})), "TG007", "spec.rateLimiting.global.refillPeriod", "\"1s-5s\""),
        (global(json!({"maxTokens": 5, "refillPeriod": ["1m"]})), "TG007", "spec.rateLimiting.global.refillPeriod", "is a list"),
    ] {
        let body = review(object(limits.clone())).to_string();
        let denied = response(&client.post("/validate", body.clone()).await);
        let causes = denied["status"]["details"]["causes"].as_array().unwrap_or_else(|| panic!("{limits}: {denied}"));
        assert_eq!(denied["allowed"], false, "{limits}");
        assert_eq!(denied["status"]["code"], 422, "{limits}");
        assert_eq!(denied["status"]["reason"], "Invalid", "{limits}");
        assert_eq!(causes.len(), 1, "{limits}: {causes:?}");
        assert_eq!((&causes[0]["reason"], &causes[0]["field"]), (&json!(rule), &json!(field)), "{limits}");
        let message = denied["status"]["message"].as_str().expect("a message");
        assert!(message.starts_with(&format!("{rule} {field}: ")) && message.contains(text), "{limits}: {message}");
        let mutated = response(&client.post("/mutate", body).await);
        assert_eq!(mutated["allowed"], true, "{limits}: {mutated}");
    }
    assert_serves(&client).await;
}

#[tokio::test]
async fn mutate_never_denies_what_validate_denies() {
    let server = Serve::start(&["--shared-alias", "deny"]);
    let client = client(&server);
    let bad = json!({"shared": {"maxTokens": 0}, "perUser": "all", "tools": [{"name": ""}, 7], "perUsers": {}});
    let mut everything = object(bad);
    everything["spec"]["sessionStorage"] = json!({"provider": "memory"});
    everything["spec"]["oidcConfigRef"].take();
    let body = review(everything).to_string();
    let validated = response(&client.post("/validate", body.clone()).await);
    let rules: Vec<_> = validated["status"]["details"]["causes"].as_array().expect("causes").iter().map(|cause| &cause["reason"]).collect();
    for rule in ["TG001", "TG002", "TG004", "TG005", "TG006", "TG007", "TG011", "TG101"] {
        assert!(rules.contains(&&json!(rule)), "{rule} is not among {rules:?}");
    }
    let mutated = response(&client.post("/mutate", body).await);
    assert_eq!(mutated["allowed"], true, "{mutated}");
    assert_eq!(mutated["status"], Value::Null, "{mutated}");
    assert_serves(&client).await;
}

fn request(method: &str, path: &str, content_type: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    request.body(Full::new(good_review().into())).expect("a request")
}

#[tokio::test]
async fn a_request_that_is_none_of_ours_is_told_what_would_be() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let json = Some("application/json");
    for (method, path, content_type, status, text) in [
        ("POST", "/validate", None, 415, "reviews are sent as Content-Type: application/json"),
        ("POST", "/mutate", Some("text/plain"), 415, "reviews are sent as Content-Type: application/json"),
        ("POST", "/validate", Some("application/jsonp"), 415, "reviews are sent as Content-Type: application/json"),
        ("POST", "/validate", Some("application/yaml"), 415, "reviews are sent as Content-Type: application/json"),
        ("GET", "/validate", json, 405, "reviews come by POST"),
        ("PUT", "/mutate", json, 405, "reviews come by POST"),
        ("POST", "/", json, 404, "there are POST /validate and POST /mutate"),
        ("POST", "/validate/", json, 404, "there are POST /validate and POST /mutate"),
        ("GET", "/metrics", None, 404, "there are POST /validate and POST /mutate"),
        ("POST", "/validate?timeout=garbage", json, 400, "timeout is a Go duration above zero, such as 10s"),
        ("POST", "/validate?timeout=", json, 400, "timeout is a Go duration above zero, such as 10s"),
        ("POST", "/mutate?timeout=-5s", json, 400, "timeout is a Go duration above zero, such as 10s"),
    ] {
        let answer = client.send(request(method, path, content_type)).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert_refused(&answer, status, text);
        assert_eq!(answer.headers.get("allow").is_some(), status == 405, "{method} {path}: {:?}", answer.headers);
    }
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        let answer = client.send(request("POST", "/validate?timeout=10s", Some(content_type))).await.expect("an answer");
        assert_eq!(response(&answer)["allowed"], true, "{content_type}");
    }
}
