//! Good and bad reviews as an API server sends them, and the object after the patch is applied.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{assert_serves, bucket, client, object, response, review};
use crate::support::serve::Serve;

/// The object after the patch of a response.
fn patched(mut object: Value, response: &Value) -> Value {
    assert_eq!(response["patchType"], "JSONPatch", "{response}");
    let patch = STANDARD.decode(response["patch"].as_str().expect("a patch")).expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a JSON patch");
    json_patch::patch(&mut object, &patch).unwrap_or_else(|error| panic!("{error}: {patch}"));
    object
}

#[tokio::test]
async fn calls_that_write_no_object_of_ours_are_allowed_under_their_uid() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let bad = review(object(json!("nonsense")));
    let edits = [
        ("/request/operation", json!("DELETE")),
        ("/request/operation", json!("CONNECT")),
        ("/request/subResource", json!("status")),
        ("/request/kind", json!({"group": "toolhive.stacklok.dev", "version": "v1beta1", "kind": "MCPRegistry"})),
        ("/request/kind", json!({"group": "example.com", "version": "v1beta1", "kind": "MCPServer"})),
        ("/request/kind", json!({"group": "", "version": "v1", "kind": "Pod"})),
    ];
    for (pointer, value) in edits {
        let mut review = bad.clone();
        review["request"]["subResource"] = json!("");
        *review.pointer_mut(pointer).expect("it is in a review") = value.clone();
        if value == "DELETE" {
            review["request"]["oldObject"] = review["request"]["object"].take();
        }
        for hook in ["/validate", "/mutate"] {
            let response = response(&client.post(hook, review.to_string()).await);
            assert_eq!(response["allowed"], true, "{hook} {value}: {response}");
            assert_eq!(response.as_object().expect("a map").len(), 2, "{hook} {value}: only uid and allowed in {response}");
        }
    }
    let denied = response(&client.post("/validate", bad.to_string()).await);
    assert_eq!(denied["status"]["details"]["causes"][0]["reason"], "TG003", "{denied}");
    assert_serves(&client).await;
}

/// An object of which kubectl owns the limits of a few tools, all called `shared`.
fn applied_with_shared(names: &[&str]) -> Value {
    let tools: Vec<_> = names.iter().map(|name| json!({"name": name, "shared": bucket()})).collect();
    let mut object = object(json!({"tools": tools}));
    let leaves = json!({"f:maxTokens": {}, "f:refillPeriod": {}});
    let owned = names.iter().map(|name| {
        let key = format!("k:{}", json!({"name": name}));
        (key, json!({".": {}, "f:name": {}, "f:shared": leaves.clone()}))
    });
    let owned: serde_json::Map<_, _> = owned.collect();
    object["metadata"]["managedFields"] = json!([{
        "manager": "kubectl", "operation": "Apply", "apiVersion": "toolhive.stacklok.dev/v1beta1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:rateLimiting": {"f:tools": owned}}},
    }]);
    let manifest =
        json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {"name": "fetch"}, "spec": object["spec"]});
    object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": format!("{manifest}\n")});
    object
}

#[tokio::test]
async fn a_rename_patch_applies_whatever_the_tools_are_called() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let names = ["a/b", "~", "~1", "a~0/b~1", "搜索", "🦀 tool", "\"quoted\"", "back\\slash", "line\nbreak", "k:{\"name\":\"x\"}", " "];
    let before = applied_with_shared(&names);
    let mutated = response(&client.post("/mutate", review(before.clone()).to_string()).await);
    assert_eq!(mutated["allowed"], true);
    let after = patched(before.clone(), &mutated);
    let expected: Value = {
        let mut expected = before.clone();
        expected["spec"] = serde_json::from_str(&before["spec"].to_string().replace("\"shared\"", "\"global\"")).expect("JSON");
        expected["metadata"]["managedFields"] =
            serde_json::from_str(&before["metadata"]["managedFields"].to_string().replace("f:shared", "f:global")).expect("JSON");
        expected
    };
    assert_eq!(after["spec"], expected["spec"]);
    assert_eq!(after["metadata"]["managedFields"], expected["metadata"]["managedFields"]);
    let annotation = &after["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    let last_applied: Value = serde_json::from_str(annotation.as_str().expect("text")).expect("JSON");
    assert_eq!(last_applied["spec"], expected["spec"]);
    let again = response(&client.post("/mutate", review(after.clone()).to_string()).await);
    assert_eq!(again["patch"], Value::Null, "mutating the result changes nothing: {again}");
    let validated = response(&client.post("/validate", review(after).to_string()).await);
    assert_eq!(validated["allowed"], true, "{validated}");
    for warning in validated["warnings"].as_array().expect("odd names are warned of") {
        let warning = warning.as_str().expect("text");
        assert!(warning.starts_with("TG103 ") && warning.chars().count() <= 120 && !warning.contains('\n'), "{warning:?}");
    }
}

fn tools(count: usize, bucket: &Value) -> Value {
    let tools: Vec<_> = (0..count).map(|index| json!({"name": format!("tool-{index}"), "shared": bucket})).collect();
    json!({"tools": tools})
}

#[tokio::test]
async fn ten_thousand_good_tools_are_allowed_and_renamed() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let before = object(tools(10_000, &bucket()));
    let mutated = response(&client.post("/mutate", review(before.clone()).to_string()).await);
    assert_eq!(mutated["allowed"], true);
    let warnings = mutated["warnings"].as_array().expect("warnings");
    let shown = warnings.len() - 1;
    assert_eq!(warnings[shown], format!("and {} more warnings", 10_000 - shown));
    let after = patched(before, &mutated);
    let left = after["spec"]["rateLimiting"]["tools"].as_array().expect("a list").iter().filter(|tool| tool.get("shared").is_some());
    assert_eq!(left.count(), 0);
    let validated = response(&client.post("/validate", review(after).to_string()).await);
    assert_eq!(validated["allowed"], true, "{validated}");
    assert_serves(&client).await;
}

#[tokio::test]
async fn ten_thousand_bad_tools_are_each_a_cause_in_a_short_message() {
    let server = Serve::start(&[]);
    let client = client(&server);
    let bad = object(tools(10_000, &json!({"maxTokens": 0, "refillPeriod": "1m"})));
    let denied = response(&client.post("/validate", review(bad).to_string()).await);
    assert_eq!(denied["allowed"], false);
    let causes = denied["status"]["details"]["causes"].as_array().expect("causes");
    assert_eq!(causes.len(), 10_000);
    for index in [0, 1, 2, 10, 9_999] {
        assert_eq!(causes[index]["field"], format!("spec.rateLimiting.tools[{index}].shared.maxTokens"));
        assert_eq!(causes[index]["reason"], "TG006");
    }
    let message = denied["status"]["message"].as_str().expect("a message");
    assert!(message.ends_with("; and 9992 more") && message.len() < 2_000, "{message}");
    assert_serves(&client).await;
}
