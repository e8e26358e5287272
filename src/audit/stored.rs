//! What an object's metadata says about its past: who applies `shared`, and which limits were applied and lost.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::{
    alias::last_applied,
    model::{
        owners::Owners,
        path::FieldPath,
        problem::Problem,
        subject::{Block, ScopeKey, Subject, TOOLS},
    },
    report::Finding,
    rules::{Context, check},
};

/// Each manager whose next apply will say `shared` again: by its managed fields, or by kubectl's last-applied annotation.
pub fn shared_applied(subject: Subject<'_>) -> Vec<Finding> {
    let levels = subject.blocks().into_iter().flat_map(|block| block.levels());
    let owners = Owners::of(subject.kind, subject.object);
    let server_side = levels.flat_map(|level| {
        let path = level.path.key(ScopeKey::Shared.key());
        let managers = owners.appliers_of_bucket(&level, ScopeKey::Shared);
        managers.into_iter().map(move |manager| (path.clone(), format!("the manager {manager} applies it (server-side)")))
    });
    let manifest = last_applied::manifest(subject.object).unwrap_or_default();
    let said = Subject::new(subject.kind, &manifest).blocks().into_iter().flat_map(|block| block.levels());
    let client_side = said.filter(|level| level.bucket(ScopeKey::Shared).is_some());
    let client_side =
        client_side.map(|level| (level.path.key(ScopeKey::Shared.key()), "kubectl applied it (last-applied-configuration)".to_owned()));
    let to_finding =
        |(path, who): (FieldPath, String)| found("shared-applied", path, Problem::new(who).advice("write global in that manifest"));
    server_side.chain(client_side).map(to_finding).collect()
}

/// Limits that kubectl applied and the object lacks. The nearest missing field is reported, not what was in it.
pub fn lost(subject: Subject<'_>) -> Vec<Finding> {
    let Some(manifest) = last_applied::manifest(subject.object) else { return Vec::new() };
    let said = Subject::new(subject.kind, &manifest);
    let mut missing = Vec::new();
    for Block { path, value, .. } in said.blocks() {
        gather(value, path.find(subject.object), path, &mut missing);
    }
    if missing.is_empty() {
        return Vec::new();
    }
    // A field that limits do not have was a typo.
    let typos = check(&Context::new(said)).into_iter().filter(|violation| violation.rule == "TG011");
    let typos: HashMap<_, _> = typos.map(|typo| (typo.path.clone(), typo)).collect();
    let to_finding = |path: FieldPath| {
        let typo = typos
            .get(&path)
            .map(|typo| Problem { fault: format!("was applied, and {}", typo.problem.fault).into(), ..typo.problem.clone() });
        found("limits-lost", path, typo.unwrap_or_else(|| Problem::new(LOST).advice("upgrade the CRD and apply it again")))
    };
    missing.into_iter().map(to_finding).collect()
}

const LOST: &str = "was applied, and is not stored: the CRD dropped it, or someone removed it since";

fn gather(said: &Value, held: Option<&Value>, path: FieldPath, missing: &mut Vec<FieldPath>) {
    match (said, held) {
        (Value::Null, _) => {}
        (Value::Object(said), Some(Value::Object(held))) => gather_map(said, held, &path, missing),
        (Value::Object(said), None) if said.is_empty() => {}
        (Value::Array(said), None) if said.is_empty() => {}
        (_, None) => missing.push(path),
        (_, Some(_)) => {}
    }
}

fn gather_map(said: &Map<String, Value>, held: &Map<String, Value>, path: &FieldPath, missing: &mut Vec<FieldPath>) {
    for (key, value) in said {
        let here = path.key(key.clone());
        let there = held.get(key).or_else(|| held.get(other_name(key)?)).filter(|held| !held.is_null());
        match (value.as_array().filter(|_| key == TOOLS), there) {
            (Some(tools), Some(Value::Array(held))) => {
                let name = |tool: &'_ Value| tool.get("name").map(Value::to_string);
                let held: HashMap<_, _> = held.iter().rev().map(|held| (name(held), held)).collect();
                for (index, tool) in tools.iter().enumerate() {
                    gather(tool, held.get(&name(tool)).copied(), here.index(index), missing);
                }
            }
            _ => gather(value, there, here, missing),
        }
    }
}

/// `shared` may have been renamed since, or `global` not yet.
fn other_name(key: &str) -> Option<&'static str> {
    let other =
        [(ScopeKey::Shared, ScopeKey::Global), (ScopeKey::Global, ScopeKey::Shared)].into_iter().find(|(name, _)| name.key() == key);
    other.map(|(_, other)| other.key())
}

fn found(id: &'static str, path: FieldPath, problem: Problem) -> Finding {
    Finding::new(id, problem).on(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::subject::Kind;

    fn with_last_applied(manifest: &Value, spec: &Value) -> Value {
        json!({
            "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": manifest.to_string()}},
            "spec": spec,
        })
    }

    fn lost_of(said: &Value, held: &Value) -> Vec<String> {
        let object = with_last_applied(&json!({"spec": {"rateLimiting": said}}), &json!({"rateLimiting": held}));
        lost(Subject::new(Kind::McpServer, &object)).iter().map(Finding::message_with_field).collect()
    }

    #[test]
    fn what_was_applied_and_is_not_held_is_told_once_where_it_begins() {
        let bucket = json!({"maxTokens": 1, "refillPeriod": "1s"});
        let said =
            json!({"global": bucket, "perUser": bucket, "tools": [{"name": "a", "global": bucket}, {"name": "b", "perUser": bucket}]});
        let held = json!({"perUser": bucket, "tools": [{"name": "b"}]});
        let paths: Vec<_> = lost_of(&said, &held).iter().map(|message| message.split(": ").next().unwrap_or_default().to_owned()).collect();
        assert_eq!(paths, ["spec.rateLimiting.global", "spec.rateLimiting.tools[0]", "spec.rateLimiting.tools[1].perUser"]);
        assert_eq!(lost_of(&said, &Value::Null).len(), 1, "the block as a whole");
        assert_eq!(lost_of(&said, &said), [""; 0]);
    }

    #[test]
    fn neither_a_rename_nor_another_value_is_a_loss() {
        let said = json!({"shared": {"maxTokens": 1}, "perUser": null, "tools": []});
        assert_eq!(lost_of(&said, &json!({"global": {"maxTokens": 2}})), [""; 0]);
        assert_eq!(lost_of(&json!({}), &Value::Null), [""; 0]);
    }

    #[test]
    fn a_typo_is_told_as_one() {
        let messages = lost_of(&json!({"perUsers": {"maxTokens": 1}}), &json!({}));
        assert_eq!(messages, ["spec.rateLimiting.perUsers: was applied, and is not a field of limits: did you mean perUser?"]);
    }

    #[test]
    fn who_applies_shared_is_named() {
        let mut object = with_last_applied(
            &json!({"spec": {"rateLimiting": {"tools": [{"name": "t", "shared": {}}]}}}),
            &json!({"rateLimiting": {"shared": {"maxTokens": 1}}}),
        );
        let entry = |manager: &str, operation: &str| {
            json!({
                "manager": manager, "operation": operation, "apiVersion": "toolhive.stacklok.dev/v1beta1",
                "fieldsV1": {"f:spec": {"f:rateLimiting": {"f:shared": {"f:maxTokens": {}}}}},
            })
        };
        object["metadata"]["managedFields"] = json!([entry("argocd-controller", "Apply"), entry("kubectl-edit", "Update")]);
        let messages: Vec<_> = shared_applied(Subject::new(Kind::McpServer, &object)).iter().map(Finding::message_with_field).collect();
        assert_eq!(
            messages,
            [
                "spec.rateLimiting.shared: the manager argocd-controller applies it (server-side): write global in that manifest",
                "spec.rateLimiting.tools[0].shared: kubectl applied it (last-applied-configuration): write global in that manifest",
            ]
        );
    }
}
