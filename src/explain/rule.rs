//! A rule in full. What the CRDs say is read from the CRDs, and what the example breaks is found by the rules themselves.

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::text::paragraph;
use crate::{
    crds::{BadDefinition, mcp_server, virtual_mcp_server},
    manifest::{Unreadable, objects},
    model::subject::{Kind, RefKind, Subject},
    rules::{Context, Effect, References, Rule, check},
};

/// The full explanation of a rule.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleExplained {
    id: &'static str,
    level: &'static str,
    says: &'static str,
    why: &'static str,
    breaks: String,
    /// What the rules find in that.
    found: Vec<String>,
    passes: String,
    crd: Crd,
    webhook: String,
    #[serde(skip)]
    rule: &'static Rule,
}

/// Why a rule could not be explained: a fault of this program, which a test excludes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A CRD could not be generated.
    #[error(transparent)]
    Definition(#[from] BadDefinition),
    /// An example cannot be read.
    #[error("an example cannot be read")]
    Unreadable(#[from] Unreadable),
    /// An example holds no object with limits.
    #[error("an example holds no object with limits")]
    Example,
}

/// What the CRDs do.
#[derive(Debug, Serialize)]
struct Crd {
    cel: Vec<Cel>,
    says: &'static str,
}

/// A CEL rule of a CRD.
#[derive(Debug, Serialize)]
struct Cel {
    kind: &'static str,
    path: String,
    rule: String,
    message: String,
}

impl RuleExplained {
    /// The explanation of a rule.
    ///
    /// # Errors
    /// Never, as a test proves.
    pub fn new(rule: &'static Rule) -> Result<Self, RuleError> {
        let breaks = rule.explanation.example.breaks();
        let mut cel = Vec::new();
        for (kind, crd) in [(Kind::McpServer, mcp_server()?), (Kind::VirtualMcpServer, virtual_mcp_server()?)] {
            // Every version has the same schema.
            if let Some(schema) = crd.pointer("/spec/versions/0/schema/openAPIV3Schema") {
                collect(kind, schema, "", rule.id, &mut cel);
            }
        }
        Ok(Self {
            id: rule.id,
            level: rule.level.name(),
            says: rule.says,
            why: rule.explanation.why,
            found: found(&breaks)?.into_iter().filter(|found| found.starts_with(rule.id)).collect(),
            breaks,
            passes: rule.explanation.example.passes(),
            crd: Crd { cel, says: rule.explanation.crd },
            webhook: webhook(rule),
            rule,
        })
    }

    /// As text, for people.
    pub fn human(&self) -> String {
        let mut out = format!("{} ({}): {}\n\nWhy\n{}", self.id, self.level, self.says, paragraph(self.why, 2));
        out.push_str("\nExample: with - it breaks the rule, with + it passes\n");
        out.extend(self.rule.explanation.example.lines().map(|line| format!("  {line}\n")));
        out.extend(self.found.iter().map(|found| format!("  > {found}\n")));
        out.push_str("\nIn the CRD (tollgate crds)\n");
        let mut place = String::new();
        for cel in &self.crd.cel {
            let here = format!("  CEL at {} {}:\n", cel.kind, cel.path);
            if here != place {
                out.push_str(&here);
            }
            place = here;
            out.push_str(&format!("    {}\n", cel.rule));
        }
        match (self.crd.says, self.crd.cel.is_empty(), self.rule.level) {
            ("", false, _) => {}
            ("", true, Effect::Warn) => out.push_str("  Nothing: a schema can only accept or reject, not warn.\n"),
            ("", true, Effect::Deny) => out.push_str("  Nothing.\n"),
            (says, _, _) => out.push_str(&paragraph(says, 2)),
        }
        out.push_str("\nIn the webhook (tollgate serve)\n");
        out.push_str(&paragraph(&self.webhook, 2));
        out
    }
}

/// What the webhook does about a rule: specific to this rule, and by its level.
fn webhook(rule: &Rule) -> String {
    let by_level = match rule.level {
        Effect::Deny => {
            "/validate denies the request: 422 Invalid, with every place as a cause. An error that the stored object already has, in a part that the \
             request does not change, is only a warning."
        }
        Effect::Warn => "/validate allows the request with a warning, which kubectl prints.",
    };
    if rule.explanation.webhook.is_empty() { by_level.to_owned() } else { format!("{} {by_level}", rule.explanation.webhook) }
}

/// The cluster that the example of TG106 refers to.
#[derive(Debug)]
struct ExampleCluster;

impl References for ExampleCluster {
    fn exists(&self, _kind: RefKind, _namespace: &str, name: &str) -> Option<bool> {
        Some(name == "corp-oidc")
    }
}

/// What the rules find in an example.
fn found(yaml: &str) -> Result<Vec<String>, RuleError> {
    let objects = objects(yaml)?;
    let object = objects.first().ok_or(RuleError::Example)?;
    let kind = object.get("kind").and_then(Value::as_str).and_then(Kind::from_name).ok_or(RuleError::Example)?;
    let context = Context::new(Subject::new(kind, object)).references(Some(&ExampleCluster));
    Ok(check(&context).iter().map(ToString::to_string).collect())
}

/// The CEL rules in a schema whose message begins with an id.
fn collect(kind: Kind, schema: &Value, path: &str, id: &str, into: &mut Vec<Cel>) {
    let text = |rule: &Value, key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    for rule in rules.into_iter().flatten() {
        let message = text(rule, "message");
        if message.starts_with(id) {
            into.push(Cel { kind: kind.name(), path: path.to_owned(), rule: text(rule, "rule"), message });
        }
    }
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        collect(kind, property, &below, id, into);
    }
    if let Some(items) = schema.get("items") {
        collect(kind, items, &format!("{path}[]"), id, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RULES;

    #[test]
    fn every_example_breaks_its_rule_alone_and_passes_all() {
        for rule in &RULES {
            let mut broken = found(&rule.explanation.example.breaks()).expect("it is read");
            // Without the deprecated name, names cannot conflict.
            broken.retain(|found| rule.id != "TG008" || !found.starts_with("TG101"));
            assert!(!broken.is_empty() && broken.iter().all(|found| found.starts_with(rule.id)), "{}: {broken:?}", rule.id);
            assert_eq!(found(&rule.explanation.example.passes()).expect("it is read"), [""; 0], "{}", rule.id);
            let marks = rule.explanation.example.lines().all(|line| line.starts_with([' ', '-', '+']));
            assert!(marks, "{}: a line without a mark is in neither reading", rule.id);
        }
    }

    /// A CEL rule with an unknown id would not be explained anywhere.
    #[test]
    fn every_cel_rule_is_explained() {
        let explained: usize = RULES.iter().map(|rule| RuleExplained::new(rule).expect("explained").crd.cel.len()).sum();
        let mut all = Vec::new();
        for (kind, crd) in [(Kind::McpServer, mcp_server()), (Kind::VirtualMcpServer, virtual_mcp_server())] {
            let crd = crd.expect("a definition");
            collect(kind, crd.pointer("/spec/versions/0/schema/openAPIV3Schema").expect("a schema"), "", "", &mut all);
        }
        assert_eq!(explained, all.len());
        assert!(explained > 10, "{explained}");
    }
}
