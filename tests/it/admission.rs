//! The review: the answer to every kind of body, and that every patch applies, is small, and is the last one.

mod alias;
mod arbitrary;
mod envelope;
mod large;
mod mirror;
mod modes;
mod ownership;
mod verdict;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tollgate::{
    admission::{Answer, Facts, Hook, review},
    model::{
        alias::{AliasPolicy, Mode},
        operator::Operator,
        schema::Schema,
    },
};

pub const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// What the webhook knows while it is asked.
#[derive(Clone, Debug)]
pub struct World {
    pub policy: AliasPolicy,
    pub schema: Schema,
}

impl Default for World {
    fn default() -> Self {
        Self { policy: Mode::Rename.into(), schema: Schema::assuming(true) }
    }
}

impl World {
    pub fn mode(mode: Mode) -> Self {
        Self { policy: mode.into(), ..Self::default() }
    }

    /// The default mode, with what is known of ToolHive's operator.
    pub fn auto(operator: Operator) -> Self {
        Self { policy: AliasPolicy { operator, ..AliasPolicy::default() }, ..Self::default() }
    }

    pub fn answer(&self, hook: Hook, body: &[u8]) -> Answer {
        review(hook, body, &Facts { policy: self.policy, schema: &self.schema, references: None })
    }

    /// The `response` of an answer that is a review with our uid.
    pub fn ask(&self, hook: Hook, request: &Value) -> Value {
        let answer = self.answer(hook, &body(request));
        assert_eq!(answer.status, 200);
        let mut review: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!((&review["apiVersion"], &review["kind"]), (&json!("admission.k8s.io/v1"), &json!("AdmissionReview")));
        assert_eq!(review["response"]["uid"], request["uid"]);
        review["response"].take()
    }

    pub fn validate(&self, request: &Value) -> Value {
        self.ask(Hook::Validate, request)
    }

    /// Asks `/mutate`, applies its patch, and checks what is true of every patch.
    pub fn mutate(&self, request: &Value) -> Mutated {
        let mutated = self.mutate_once(request);
        let again = json_with(request, "object", mutated.object.clone());
        assert_eq!(self.mutate_once(&again).patch, [] as [Value; 0], "a second patch, on {}", mutated.object);
        mutated
    }

    /// The same, for objects that no API server would hand us.
    pub fn mutate_once(&self, request: &Value) -> Mutated {
        let response = self.ask(Hook::Mutate, request);
        assert_eq!(response["allowed"], true, "/mutate never refuses: {response}");
        let patch = patch_of(&response);
        assert_is_small(&patch);
        let mut object = request["object"].clone();
        apply(&mut object, &patch);
        Mutated {
            alias: response["auditAnnotations"]["alias"].as_str().unwrap_or_default().to_owned(),
            warnings: warnings(&response),
            object,
            patch,
        }
    }
}

/// The object after `/mutate`, and what was said about it.
pub struct Mutated {
    pub object: Value,
    pub patch: Vec<Value>,
    pub warnings: Vec<String>,
    /// The rows of the alias table.
    pub alias: String,
}

pub fn body(request: &Value) -> Vec<u8> {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string().into_bytes()
}

fn patch_of(response: &Value) -> Vec<Value> {
    let Some(patch) = response.get("patch") else { return Vec::new() };
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD.decode(patch.as_str().expect("a string")).expect("base64");
    serde_json::from_slice(&patch).expect("a JSON patch")
}

fn apply(object: &mut Value, patch: &[Value]) {
    let operations: json_patch::Patch = serde_json::from_value(patch.into()).expect("a JSON patch");
    json_patch::patch(object, &operations).unwrap_or_else(|error| panic!("{error}: {patch:#?} on {object:#}"));
}

/// Operations on single keys; never one that writes a list or a block as a whole.
fn assert_is_small(patch: &[Value]) {
    for operation in patch {
        let (op, path) = (operation["op"].as_str().expect("an op"), operation["path"].as_str().expect("a path"));
        assert!(["test", "move", "add", "remove", "replace"].contains(&op), "{operation}");
        let wholes = ["", "/metadata", "/metadata/managedFields", "/metadata/annotations", "/spec", "/spec/config"];
        assert!(!wholes.contains(&path), "{operation} touches too much");
        let blocks = ["/spec/rateLimiting", "/spec/config/rateLimiting"];
        assert!(op == "remove" || !blocks.contains(&path), "{operation} writes a whole block");
        assert!(!blocks.iter().any(|block| path == format!("{block}/tools")), "{operation} touches every tool");
    }
    if let Some(last) = patch.last() {
        assert_ne!(last["op"], "test", "a patch that ends by only looking: {patch:#?}");
    }
}

pub fn warnings(response: &Value) -> Vec<String> {
    let warnings = response["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    warnings.iter().map(|warning| warning.as_str().expect("a string").to_owned()).collect()
}

/// `RULE field` of each cause of a denial.
pub fn causes(response: &Value) -> Vec<String> {
    let causes = response["status"]["details"]["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
    causes.iter().map(|cause| format!("{} {}", cause["reason"].as_str().unwrap_or("?"), cause["field"].as_str().unwrap_or("?"))).collect()
}

pub fn json_with(value: &Value, key: &str, member: Value) -> Value {
    let mut changed = value.clone();
    changed[key] = member;
    changed
}

/// A request to create an object.
pub fn create(object: &Value) -> Value {
    let kind = json!({"group": "toolhive.stacklok.dev", "version": "v1beta1", "kind": object["kind"]});
    json!({
        "uid": UID,
        "kind": kind,
        "requestKind": kind,
        "name": "fetch",
        "namespace": "demo",
        "operation": "CREATE",
        "object": object,
        "oldObject": null,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    })
}

/// A request to turn a stored object into another.
pub fn update(old: &Value, object: &Value) -> Value {
    let mut request = create(object);
    request["operation"] = json!("UPDATE");
    request["oldObject"] = old.clone();
    request
}

/// A server-side apply by `manager`.
pub fn apply_of(manager: &str, force: bool, request: Value) -> Value {
    json_with(&request, "options", json!({"kind": "PatchOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": manager, "force": force}))
}

/// A server without sign-in, with usable storage and these limits.
pub fn server(limits: &Value) -> Value {
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1",
        "kind": "MCPServer",
        "metadata": {"name": "fetch", "namespace": "demo"},
        "spec": {"sessionStorage": {"provider": "redis", "address": "redis:6379"}, "rateLimiting": limits},
    })
}

pub fn bucket(max_tokens: i64) -> Value {
    json!({"maxTokens": max_tokens, "refillPeriod": "1m0s"})
}

pub fn limits(object: &Value) -> &Value {
    &object["spec"]["rateLimiting"]
}
