//! Bodies of every kind: a review gets an answer with its uid, anything else a 400.

use serde_json::{Value, json};
use tollgate::admission::{Ending, Hook};

use super::{UID, World, body, bucket, create, json_with, server};

const HOOKS: [Hook; 2] = [Hook::Mutate, Hook::Validate];

fn bad() -> Value {
    create(&server(&json!({"shared": bucket(0)})))
}

#[test]
fn what_is_not_for_us_is_allowed_in_silence() {
    let other = |key: &str, value: Value| json_with(&bad(), key, value);
    let kind = |group: &str, kind: &str| json!({"group": group, "version": "v1beta1", "kind": kind});
    for request in [
        other("operation", json!("DELETE")),
        other("operation", json!("CONNECT")),
        other("subResource", json!("status")),
        other("subResource", json!("scale")),
        other("kind", kind("toolhive.stacklok.dev", "MCPRegistry")),
        other("kind", kind("example.com", "MCPServer")),
        other("kind", kind("", "MCPServer")),
        json_with(&other("operation", json!("DELETE")), "object", Value::Null),
    ] {
        for hook in HOOKS {
            assert_eq!(World::default().ask(hook, &request), json!({"uid": UID, "allowed": true}), "{request}");
        }
    }
}

#[test]
fn an_object_that_is_none_is_refused_by_validate_and_passed_by_mutate() {
    for (object, what) in [(json!(null), "null"), (json!("x"), "a string"), (json!([{}]), "a list"), (json!(5), "a number")] {
        let request = json_with(&bad(), "object", object);
        let refused = World::default().validate(&request);
        assert_eq!((&refused["allowed"], &refused["status"]["code"]), (&json!(false), &json!(400)));
        assert_eq!(refused["status"]["reason"], "BadRequest");
        let message = format!("request.object is {what}, not an object");
        assert_eq!(refused["status"]["message"], message);
        let passed = World::default().ask(Hook::Mutate, &request);
        assert_eq!(passed, json!({"uid": UID, "allowed": true, "warnings": [format!("tollgate did not process this object: {message}")]}));
    }
}

/// Bytes that carry the uid, and cannot be decoded.
fn undecodable() -> Vec<Vec<u8>> {
    let whole = body(&bad());
    let uid = whole.windows(UID.len()).position(|window| window == UID.as_bytes()).expect("the uid is in it");
    let mut bodies = vec![
        body(&json_with(&bad(), "operation", json!(5))),
        body(&json_with(&bad(), "kind", json!("MCPServer"))),
        body(&json_with(&bad(), "dryRun", json!("yes"))),
        [&whole[..], b"}"].concat(),
        [&whole[..], b"\0"].concat(),
        format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"{UID}","object":{}"#,
            "[".repeat(200_000)
        )
        .into_bytes(),
        format!(r#"{{"request":{{"uid":"{UID}","object":"{}"#, '\u{fffd}').into_bytes(),
        format!(r#"{{"request":{{"uid":"{UID}","uid":"{UID}"}}}}"#).into_bytes(),
    ];
    bodies.push([format!(r#"{{"request":{{"uid":"{UID}","object":""#).as_bytes(), &[0xff, 0xfe, b'"']].concat());
    bodies.extend([uid + UID.len() + 1, whole.len() - 1].map(|end| whole[..end].to_vec()));
    bodies
}

#[test]
fn bytes_that_are_no_text_are_refused_wherever_they_stand() {
    let head = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"42","operation":"CREATE","#;
    let kind = br#""kind":{"group":"toolhive.stacklok.dev","version":"v1beta1","kind":"MCPServer"},"object":{"spec":{"image":""#;
    for (image, allowed) in [(&b"fetch"[..], true), (&b"\xff\xfe"[..], false)] {
        let body = [&head[..], kind, image, br#""}}}}"#].concat();
        let schema = tollgate::model::schema::Schema::assuming(true);
        let facts =
            tollgate::admission::Facts { policy: tollgate::model::alias::AliasPolicy::default(), schema: &schema, references: None };
        let answer = tollgate::admission::review(tollgate::admission::Hook::Validate, &body, &facts);
        let response: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!((answer.status, &response["response"]["uid"], &response["response"]["allowed"]), (200, &json!("42"), &json!(allowed)));
    }
}

#[test]
fn the_uid_is_recovered_from_an_undecodable_review() {
    for bytes in undecodable() {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        for hook in HOOKS {
            let answer = World::default().answer(hook, &bytes);
            assert_eq!((answer.status, answer.record.verdict), (200, Ending::Malformed), "{start}");
            let review: Value = serde_json::from_slice(&answer.body).expect("JSON");
            let response = &review["response"];
            assert_eq!((&response["uid"], &response["allowed"]), (&json!(UID), &json!(hook == Hook::Mutate)), "{start}");
            if hook == Hook::Validate {
                let message = response["status"]["message"].as_str().unwrap_or_default();
                assert!(message.starts_with("the review cannot be decoded: ") && !message.contains('\n'), "{start}: {message}");
            }
        }
    }
}

#[test]
fn what_is_no_review_gets_a_400_that_says_why() {
    let review =
        |api_version: &str, kind: &str, request: Value| json!({"apiVersion": api_version, "kind": kind, "request": request}).to_string();
    let v1 = "admission.k8s.io/v1";
    for (bytes, why) in [
        (String::new(), "the body is empty"),
        ("hello".to_owned(), "expected value"),
        ("{".to_owned(), "EOF"),
        ("null".to_owned(), "null"),
        ("7".to_owned(), "integer"),
        ("{}".to_owned(), r#"it is "" """#),
        (review("admission.k8s.io/v1beta1", "AdmissionReview", bad()), "register the webhook with admissionReviewVersions: [v1]"),
        (review(v1, "ConversionReview", bad()), "ConversionReview"),
        (review("v1", "Pod", Value::Null), "Pod"),
        (review(v1, "AdmissionReview", Value::Null), "request is missing"),
        (review(v1, "AdmissionReview", json!({})), "request.uid is missing"),
        (review(v1, "AdmissionReview", json_with(&bad(), "uid", json!(""))), "request.uid is missing"),
        (review(v1, "AdmissionReview", json_with(&bad(), "uid", json!(7))), "invalid type"),
    ] {
        for hook in HOOKS {
            let answer = World::default().answer(hook, bytes.as_bytes());
            let text = String::from_utf8(answer.body).expect("text");
            assert_eq!(answer.status, 400, "{bytes}: {text}");
            assert!(text.starts_with("not an admission review: ") && text.contains(why), "{bytes}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}

#[test]
fn an_old_object_that_is_none_is_no_old_object() {
    for old in [json!(null), json!("x"), json!([])] {
        let request = json_with(&json_with(&bad(), "operation", json!("UPDATE")), "oldObject", old);
        assert_eq!(World::default().validate(&request)["allowed"], false);
        assert_eq!(World::default().mutate(&request).alias, "3");
    }
}

#[test]
fn options_of_any_shape_are_read_as_far_as_they_go() {
    for options in [json!(null), json!("x"), json!({"fieldManager": 5, "force": "yes"}), json!({"fieldManager": ""}), json!([1])] {
        assert_eq!(World::default().mutate(&json_with(&bad(), "options", options)).alias, "3");
    }
}
