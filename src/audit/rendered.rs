//! What ToolHive's operator rendered: the limits that its proxies enforce, compared with those that an object holds.
//!
//! The operator writes a ConfigMap for each object, and its proxies read nothing else:
//!
//! | kind | ConfigMap | key | limits at |
//! |---|---|---|---|
//! | `MCPServer` | `NAME-runconfig` | `runconfig.json` | the middleware `ratelimit`, else `rate_limit_config` |
//! | `VirtualMCPServer` | `NAME-vmcp-config` | `config.yaml` | `rateLimiting`, from `spec.config.rateLimiting` alone |
//!
//! It decodes objects into a type of its own, so that a field which this type lacks (`global`, as published) is gone from the ConfigMap,
//! while the object's status says that the limits are valid. In YAML a period is a map (`refillPeriod: {duration: 1m0s}`), in JSON a text.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Around;
use crate::{
    manifest::objects,
    model::{
        bucket::{Bucket, same_meaning},
        path::FieldPath,
        problem::Problem,
        subject::{BucketAt, Kind, LevelOf, RATE_LIMITING, ScopeKey, Subject},
    },
    report::{Finding, Severity},
};

/// The label by which ConfigMaps are selected; nothing but the operator's own is read.
pub const SELECTOR: &str = "toolhive.stacklok.io/component in (run-config,vmcp-config)";

/// What was rendered for one object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Rendered {
    /// The name of the ConfigMap.
    pub config_map: String,
    /// The generation of the object that it was rendered from, where the ConfigMap says so.
    pub generation: Option<i64>,
    /// The limits; null without any.
    pub limits: Value,
}

/// The object that something was rendered for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Of {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Of {
    /// An object that stays.
    fn subject(subject: Subject<'_>) -> Option<Self> {
        let metadata = |key| FieldPath::new(["metadata", key]).find(subject.object);
        let name = metadata("name").filter(|_| metadata("deletionTimestamp").is_none())?.as_str()?;
        Some(Self { kind: subject.kind, namespace: subject.namespace()?.to_owned(), name: name.to_owned() })
    }

    /// The name of the ConfigMap.
    pub fn config_map(&self) -> String {
        format!("{}{}", self.name, suffix(self.kind))
    }
}

impl Rendered {
    /// Reads a ConfigMap. `None` where it is not one of the operator's, or cannot be decoded.
    pub fn read(config_map: &Value) -> Option<(Of, Self)> {
        let text = |pointer| config_map.pointer(pointer).and_then(Value::as_str);
        let (namespace, config_map_name) = (text("/metadata/namespace")?, text("/metadata/name")?);
        let (kind, name) = Kind::ALL.into_iter().find_map(|kind| Some((kind, config_map_name.strip_suffix(suffix(kind))?)))?;
        let of = Of { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        let (limits, generation) = match kind {
            Kind::McpServer => run_config(text("/data/runconfig.json")?)?,
            Kind::VirtualMcpServer => (vmcp_config(text("/data/config.yaml")?)?, None),
        };
        Some((of, Self { config_map: config_map_name.to_owned(), generation, limits }))
    }

    /// Whether the operator has rendered the object as it is now.
    fn is_current(&self, object: &Value) -> bool {
        let number = |pointer| object.pointer(pointer).and_then(Value::as_i64);
        let observed = self.generation.or_else(|| number("/status/observedGeneration"));
        observed.zip(number("/metadata/generation")).is_none_or(|(observed, generation)| observed >= generation)
    }
}

fn suffix(kind: Kind) -> &'static str {
    match kind {
        Kind::McpServer => "-runconfig",
        Kind::VirtualMcpServer => "-vmcp-config",
    }
}

/// The limits of a run configuration, and the generation that it was rendered from.
fn run_config(text: &str) -> Option<(Value, Option<i64>)> {
    let config: Value = serde_json::from_str(text).ok().filter(Value::is_object)?;
    let middleware = config.get("middleware_configs").and_then(Value::as_array).into_iter().flatten();
    let of_middleware = middleware
        .filter(|middleware| middleware.get("type").and_then(Value::as_str) == Some("ratelimit"))
        .find_map(|middleware| middleware.pointer("/parameters/config"));
    let limits = of_middleware.or_else(|| config.get("rate_limit_config"));
    Some((decoded(limits)?, config.get("mcpserver_generation").and_then(Value::as_i64)))
}

fn vmcp_config(text: &str) -> Option<Value> {
    let config = objects(text).ok()?.pop().filter(Value::is_object)?;
    decoded(config.get(RATE_LIMITING))
}

/// Limits with every period as a text; `None` where they are neither a map nor absent.
fn decoded(limits: Option<&Value>) -> Option<Value> {
    let mut limits = limits.cloned().unwrap_or_default();
    plain_periods(&mut limits);
    (limits.is_object() || limits.is_null()).then_some(limits)
}

fn plain_periods(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.get("duration") {
                    Some(duration) if key == "refillPeriod" => *value = duration.clone(),
                    _ => plain_periods(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_periods),
        _ => {}
    }
}

/// Each limit that an object holds and ToolHive's proxy does not enforce. Nothing where nothing was rendered, or where that is not known.
pub fn not_enforced(subject: Subject<'_>, around: &dyn Around) -> Vec<Finding> {
    let Some(rendered) = Of::subject(subject).and_then(|of| around.rendered(&of)) else { return Vec::new() };
    let shown = json!({"spec": {RATE_LIMITING: rendered.limits}});
    let levels = Subject::new(Kind::McpServer, &shown).blocks().into_iter().flat_map(|block| block.levels());
    let levels: HashMap<_, _> = levels.map(|level| (level.tool, level)).collect();
    let is_current = rendered.is_current(subject.object);
    let stored = subject.blocks().into_iter().flat_map(|block| {
        let is_unread = subject.kind == Kind::VirtualMcpServer && block.path == FieldPath::new(["spec", RATE_LIMITING]);
        block.levels().into_iter().map(move |level| (is_unread, level))
    });
    let found = stored.flat_map(|(is_unread, level)| {
        let missing = buckets(&level).into_iter().filter_map(|bucket| {
            let enforced = levels.get(&level.tool).map(|level| counterparts(level, bucket.scope)).unwrap_or_default();
            let fault = fault(&bucket, &enforced, &rendered.config_map)?;
            let problem = Problem::new(fault).advice(advice(is_current, is_unread, &level, bucket.scope));
            Some(Finding::new("not-enforced", problem).on(bucket.path))
        });
        missing.collect::<Vec<_>>()
    });
    // The operator may be about to render it.
    found.map(|found| if is_current { found } else { Finding { severity: Severity::Warning, ..found } }).collect()
}

/// The buckets of a level that can be read; of both names with one meaning, `global` alone.
fn buckets<'a>(level: &LevelOf<'a>) -> Vec<BucketAt<'a>> {
    let global = level.bucket(ScopeKey::Global);
    let is_repeated =
        |bucket: &BucketAt<'_>| bucket.scope == ScopeKey::Shared && global.is_some_and(|global| same_meaning(global, bucket.value));
    level.buckets().into_iter().filter(|bucket| Bucket::read(bucket.value).is_ok() && !is_repeated(bucket)).collect()
}

/// The rendered buckets that count what a stored one counts.
fn counterparts<'a>(level: &LevelOf<'a>, scope: ScopeKey) -> Vec<&'a Value> {
    let scopes: &[ScopeKey] = if scope == ScopeKey::PerUser { &[ScopeKey::PerUser] } else { &[ScopeKey::Shared, ScopeKey::Global] };
    scopes.iter().filter_map(|scope| level.bucket(*scope)).collect()
}

/// What is wrong with a stored bucket, as compared with the rendered ones.
fn fault(stored: &BucketAt<'_>, rendered: &[&Value], config_map: &str) -> Option<String> {
    let stored = Bucket::read(stored.value).ok()?;
    if rendered.is_empty() {
        return Some(format!("is stored, and not enforced (it is not in ConfigMap {config_map})"));
    }
    let readable: Option<Vec<_>> = rendered.iter().map(|rendered| Bucket::read(rendered).ok()).collect();
    let enforced = readable?;
    let first = enforced.first().filter(|_| !enforced.contains(&stored))?;
    let says = |bucket: &Bucket| format!("{} per {}", bucket.max_tokens, bucket.refill_period);
    Some(format!("{} is stored, and {} enforced (ConfigMap {config_map})", says(&stored), says(first)))
}

/// What to do about it.
fn advice(is_current: bool, is_unread: bool, level: &LevelOf<'_>, scope: ScopeKey) -> &'static str {
    if is_unread {
        "ToolHive's operator reads spec.config.rateLimiting alone, write it there"
    } else if !is_current {
        "ToolHive's operator has not rendered this generation yet, ask again, then see its log"
    } else if scope == ScopeKey::Global && level.bucket(ScopeKey::Shared).is_none() {
        "ToolHive's operator does not read global, write shared, or let --shared-alias auto or mirror keep both"
    } else {
        "see the log of ToolHive's operator"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::around::Neighbours;

    fn bucket(tokens: u32, period: &str) -> Value {
        json!({"maxTokens": tokens, "refillPeriod": period})
    }

    fn run_config_map(config: &Value) -> Value {
        json!({"metadata": {"namespace": "n", "name": "s-runconfig"}, "data": {"runconfig.json": config.to_string()}})
    }

    fn vmcp_config_map(yaml: &str) -> Value {
        json!({"metadata": {"namespace": "n", "name": "s-vmcp-config"}, "data": {"config.yaml": yaml}})
    }

    /// What is found in an object of generation 2, beside such a ConfigMap.
    fn found(kind: Kind, spec: &Value, config_map: &Value) -> Vec<(Severity, String)> {
        let object = json!({"metadata": {"namespace": "n", "name": "s", "generation": 2}, "spec": spec});
        let mut around = Neighbours::default();
        around.add_config_map(config_map);
        let found = not_enforced(Subject::new(kind, &object), &around);
        found.iter().map(|found| (found.severity, found.message_with_field())).collect()
    }

    /// The paths of what is found in an MCPServer, where the operator rendered `limits`.
    fn paths(stored: &Value, limits: &Value) -> Vec<String> {
        let config_map = run_config_map(&json!({"mcpserver_generation": 2, "rate_limit_config": limits}));
        let lost = found(Kind::McpServer, &json!({"rateLimiting": stored}), &config_map);
        lost.iter().map(|(_, message)| message.split(": ").next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn what_a_type_without_global_drops_is_found_at_every_level() {
        let stored = json!({
            "global": bucket(10, "1m"), "perUser": bucket(2, "60s"),
            "tools": [{"name": "a", "global": bucket(3, "1s")}, {"name": "b", "shared": bucket(4, "1s"), "perUser": bucket(1, "1s")}],
        });
        let limits = json!({"perUser": bucket(2, "1m0s"), "tools": [{"name": "b", "shared": bucket(4, "1s")}, {"name": "a"}]});
        let gone = ["spec.rateLimiting.global", "spec.rateLimiting.tools[0].global", "spec.rateLimiting.tools[1].perUser"];
        assert_eq!(paths(&stored, &limits), gone);
        assert_eq!(paths(&stored, &Value::Null).len(), 5, "all of them, where nothing is rendered");
        let lost = found(
            Kind::McpServer,
            &json!({"rateLimiting": {"global": bucket(10, "1m")}}),
            &run_config_map(&json!({"mcpserver_generation": 2, "rate_limit_config": {}})),
        );
        let says = "spec.rateLimiting.global: is stored, and not enforced (it is not in ConfigMap s-runconfig): ToolHive's operator does not \
                    read global, write shared, or let --shared-alias auto or mirror keep both";
        assert_eq!(lost, [(Severity::Error, says.to_owned())]);
    }

    #[test]
    fn meaning_is_compared_under_either_name() {
        let both = json!({"shared": bucket(1, "60s"), "global": bucket(1, "1m")});
        assert_eq!(paths(&both, &json!({"shared": bucket(1, "1m0s")})), [""; 0]);
        assert_eq!(paths(&both, &json!({"global": bucket(1, "1m0s")})), [""; 0], "an operator that reads global");
        assert_eq!(paths(&both, &json!({})), ["spec.rateLimiting.global"], "one limit is one finding");
        let apart = json!({"shared": bucket(1, "60s"), "global": bucket(7, "1m")});
        assert_eq!(paths(&apart, &json!({"shared": bucket(1, "1m0s")})), ["spec.rateLimiting.global"]);
        // The rules report what cannot be read.
        assert_eq!(paths(&json!({"global": bucket(0, "1m")}), &json!({})), [""; 0]);
        assert_eq!(paths(&json!({"global": bucket(1, "1m")}), &json!({"shared": {"maxTokens": "1"}})), [""; 0]);
    }

    #[test]
    fn another_value_is_an_error_and_an_older_generation_a_warning() {
        let spec = json!({"rateLimiting": {"shared": bucket(10, "1m")}});
        let of = |generation: i64| {
            run_config_map(&json!({"mcpserver_generation": generation, "rate_limit_config": {"shared": bucket(5, "1m0s")}}))
        };
        let says = "spec.rateLimiting.shared: 10 per 1m0s is stored, and 5 per 1m0s enforced (ConfigMap s-runconfig): ";
        let lost = found(Kind::McpServer, &spec, &of(2));
        assert_eq!(lost, [(Severity::Error, format!("{says}see the log of ToolHive's operator"))]);
        let lost = found(Kind::McpServer, &spec, &of(1));
        let later = "ToolHive's operator has not rendered this generation yet, ask again, then see its log";
        assert_eq!(lost, [(Severity::Warning, format!("{says}{later}"))]);
    }

    #[test]
    fn the_middleware_is_what_runs() {
        let config = json!({
            "rate_limit_config": {"shared": bucket(5, "1m0s")},
            "middleware_configs": [{"type": "auth"}, {"type": "ratelimit", "parameters": {"config": {"shared": bucket(1, "1m0s")}}}],
        });
        let lost = found(Kind::McpServer, &json!({"rateLimiting": {"shared": bucket(5, "1m")}}), &run_config_map(&config));
        assert!(lost.len() == 1 && lost[0].1.contains("and 1 per 1m0s enforced"), "{lost:?}");
    }

    #[test]
    fn of_a_virtual_server_one_place_is_rendered() {
        let yaml = "\
name: s
rateLimiting:
    shared:
        maxTokens: 5
        refillPeriod:
            duration: 1m30s
    tools:
        - name: \"1e3\"
          perUser:
            maxTokens: 5
            refillPeriod:
                duration: 1m30s
";
        let limits = json!({"shared": bucket(5, "90s"), "tools": [{"name": "1e3", "perUser": bucket(5, "90s")}]});
        let at_config = json!({"config": {"rateLimiting": limits}});
        assert_eq!(found(Kind::VirtualMcpServer, &at_config, &vmcp_config_map(yaml)), []);
        let at_spec = json!({"rateLimiting": limits});
        let lost = found(Kind::VirtualMcpServer, &at_spec, &vmcp_config_map("name: s\n"));
        assert_eq!(lost.len(), 2);
        assert!(lost[0].1.ends_with(": ToolHive's operator reads spec.config.rateLimiting alone, write it there"), "{lost:?}");
    }

    #[test]
    fn what_cannot_be_decoded_says_nothing() {
        let spec = json!({"rateLimiting": {"global": bucket(5, "1m")}});
        let run = |data: &str| json!({"metadata": {"namespace": "n", "name": "s-runconfig"}, "data": {"runconfig.json": data}});
        for data in ["", "null", "[]", "{", "{\"rate_limit_config\": 5}"] {
            assert_eq!(found(Kind::McpServer, &spec, &run(data)), [], "{data:?}");
        }
        let other_key = json!({"metadata": {"namespace": "n", "name": "s-runconfig"}, "data": {"other": "{}"}});
        assert_eq!(found(Kind::McpServer, &spec, &other_key), []);
        for yaml in ["", "- a", "rateLimiting: [", "rateLimiting: 5"] {
            assert_eq!(found(Kind::VirtualMcpServer, &json!({"config": spec}), &vmcp_config_map(yaml)), [], "{yaml:?}");
        }
        let elsewhere = json!({"metadata": {"namespace": "m", "name": "s-runconfig"}, "data": {"runconfig.json": "{}"}});
        assert_eq!(found(Kind::McpServer, &spec, &elsewhere), []);
    }

    #[test]
    fn what_is_on_its_way_out_is_left_alone() {
        let object = json!({
            "metadata": {"namespace": "n", "name": "s", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"rateLimiting": {"global": bucket(5, "1m")}},
        });
        let mut around = Neighbours::default();
        around.add_config_map(&run_config_map(&json!({})));
        assert_eq!(not_enforced(Subject::new(Kind::McpServer, &object), &around), []);
    }
}
