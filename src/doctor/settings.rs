//! The settings of a hook, all of them, compared with those that `manifests/base` installs: is it asked about everything, for every client, and
//! about no more?

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    hooks::{Endpoint, Hook},
    report::Notes,
};
use crate::cluster::request::{items, text};

const FROM_MANIFESTS: &str = "take it from manifests/base/webhooks.yaml";
/// The API server waits this long for a hook that says nothing about it.
const DEFAULT_TIMEOUT_S: u64 = 10;
/// The label that every namespace has.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Longer expressions are shown up to here.
const SHOWN: usize = 80;

/// What is said of a setting, and what to do.
type Problem = (String, &'static str);

/// Looks at every setting.
pub(super) fn look(hook: &Hook, notes: &mut Notes) {
    let looks: [fn(&Hook) -> Vec<Problem>; 7] = [policies, timeout, selectors, match_conditions, rules, client, unknown];
    let problems: Vec<Problem> = looks.iter().flat_map(|look| look(hook)).collect();
    if problems.is_empty() {
        notes.ok("settings", format!("{} as in the manifests", hook.name()));
    }
    for (says, todo) in problems {
        notes.problem("settings", format!("{}: {says}", hook.name()), todo);
    }
}

fn policies(hook: &Hook) -> Vec<Problem> {
    let (is, shipped) = (|key| text(&hook.entry, key), |key| text(&hook.shipped, key));
    let mut problems = Vec::new();
    match is("/failurePolicy") {
        set if set == shipped("/failurePolicy") => {}
        set if hook.is_mutating() => problems.push((
            format!("failurePolicy is {set}: while tollgate is unavailable, no limited server can be written"),
            "set failurePolicy: Ignore",
        )),
        set => problems
            .push((format!("failurePolicy is {set}: while tollgate is unavailable, faulty limits get in"), "set failurePolicy: Fail")),
    }
    if is("/matchPolicy") == "Exact" {
        let says = "matchPolicy is Exact: objects written in a version that its rules do not name pass by";
        problems.push((says.to_owned(), "set matchPolicy: Equivalent"));
    }
    if hook.is_mutating() && is("/reinvocationPolicy") != shipped("/reinvocationPolicy") {
        let says = "reinvocationPolicy is Never: what a later webhook writes is not looked at again";
        problems.push((says.to_owned(), "set reinvocationPolicy: IfNeeded"));
    }
    // Both say that a dry run may be sent.
    if !["None", "NoneOnDryRun"].contains(&is("/sideEffects")) {
        problems.push((format!("sideEffects is {}: dry runs are refused", is("/sideEffects")), "set sideEffects: None"));
    }
    let version = items(&hook.entry, "/admissionReviewVersions").first().and_then(Value::as_str).unwrap_or_default();
    if version != "v1" {
        problems.push((format!("admissionReviewVersions begins with {version:?}: tollgate reads v1"), "set admissionReviewVersions: [v1]"));
    }
    problems
}

fn timeout(hook: &Hook) -> Vec<Problem> {
    let timeout_s = hook.entry.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(DEFAULT_TIMEOUT_S);
    let says = format!("timeoutSeconds is {timeout_s}: a tollgate that hangs holds up each write for so long");
    (timeout_s > DEFAULT_TIMEOUT_S).then_some((says, "set timeoutSeconds to 2 or 3")).into_iter().collect()
}

fn selectors(hook: &Hook) -> Vec<Problem> {
    let mut problems = Vec::new();
    if hook.entry.get("objectSelector").is_some_and(|selector| selector.as_object().is_some_and(|keys| !keys.is_empty())) {
        let says = "an objectSelector lets anyone who may label an object bypass the rules";
        problems.push((says.to_owned(), "remove objectSelector"));
    }
    let mut left_out: BTreeSet<_> = names(items(&hook.shipped, "/namespaceSelector/matchExpressions"), "/values").collect();
    let own = match hook.endpoint() {
        Endpoint::Service { namespace, .. } => namespace,
        Endpoint::Url(_) => String::new(),
    };
    left_out.insert(&own);
    let mut problem = |says: String| problems.push((says, FROM_MANIFESTS));
    for requirement in items(&hook.entry, "/namespaceSelector/matchExpressions") {
        let (key, operator) = (text(requirement, "/key"), text(requirement, "/operator"));
        let values: Vec<_> = names([requirement], "/values").collect();
        if (key, operator) != (NAMESPACE_NAME, "NotIn") {
            problem(format!(
                "namespaceSelector wants {key} {operator} ({}): objects in other namespaces are not checked",
                values.join(", ")
            ));
        } else if values.iter().any(|value| !left_out.contains(value)) {
            let more: Vec<_> = values.into_iter().filter(|value| !left_out.contains(value)).collect();
            problem(format!("namespaceSelector excludes {}: objects there are not checked", more.join(", ")));
        }
    }
    let labels = hook.entry.pointer("/namespaceSelector/matchLabels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        problem(format!("namespaceSelector wants {key}={value}: objects in other namespaces are not checked"));
    }
    problems
}

fn match_conditions(hook: &Hook) -> Vec<Problem> {
    let conditions = |entry| items(entry, "/matchConditions").iter().map(|condition| (text(condition, "/name"), words(condition)));
    let installed: Vec<_> = conditions(&hook.entry).collect();
    let shipped: Vec<_> = conditions(&hook.shipped).collect();
    let is_in = |(_, expression): &(&str, String), others: &[(&str, String)]| others.iter().any(|(_, other)| other == expression);
    let is_named_in = |name: &str, others: &[(&str, String)]| others.iter().any(|(other, _)| *other == name);
    let added = installed.iter().filter(|condition| !is_in(condition, &shipped)).map(|(name, expression)| {
        let differs = if is_named_in(name, &shipped) { "differs from that in the manifests" } else { "is not in the manifests" };
        format!("the matchCondition {name} {differs}: what it does not match is not checked ({})", shortened(expression))
    });
    let lacking = shipped.iter().filter(|condition| !is_in(condition, &installed) && !is_named_in(condition.0, &installed));
    let lacking = lacking.map(|(name, _)| format!("the matchCondition {name} is missing: more writes wait for tollgate than need to"));
    added.chain(lacking).map(|says| (says, FROM_MANIFESTS)).collect()
}

/// An expression without what its layout adds.
fn words(condition: &Value) -> String {
    text(condition, "/expression").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shortened(expression: &str) -> String {
    match expression.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", expression.get(..end).unwrap_or_default()),
        None => expression.to_owned(),
    }
}

fn rules(hook: &Hook) -> Vec<Problem> {
    let [installed, shipped] = [&hook.entry, &hook.shipped].map(|entry| items(entry, "/rules"));
    let asked: Vec<_> = installed.iter().filter(|rule| text(rule, "/scope") != "Cluster").collect();
    let mut says = Vec::new();
    for rule in shipped {
        let group = names([rule], "/apiGroups").next().unwrap_or_default();
        for resource in names([rule], "/resources") {
            for operation in names([rule], "/operations") {
                let is_asked = asked
                    .iter()
                    .any(|rule| has(rule, "/apiGroups", group) && has(rule, "/resources", resource) && has(rule, "/operations", operation));
                if !is_asked {
                    says.push(format!("{operation} of {resource} is not asked about"));
                }
            }
        }
        for version in names([rule], "/apiVersions").filter(|version| !asked.iter().any(|rule| has(rule, "/apiVersions", version))) {
            says.push(format!("the rules do not name {version}: such objects arrive in another version than they were written in"));
        }
    }
    for (list, what) in [("/operations", "the operation"), ("/resources", "the resource")] {
        let known: BTreeSet<_> = names(shipped, list).collect();
        let more: BTreeSet<_> = names(installed, list).filter(|name| !known.contains(name)).collect();
        says.extend(more.iter().map(|name| format!("the rules also cover {what} {name}: such requests wait for tollgate, or fail")));
    }
    says.into_iter().map(|says| (says, FROM_MANIFESTS)).collect()
}

fn client(hook: &Hook) -> Vec<Problem> {
    let path = text(&hook.shipped, "/clientConfig/service/path");
    let called = match hook.endpoint() {
        Endpoint::Service { .. } => text(&hook.entry, "/clientConfig/service/path").to_owned(),
        // What is in front of it may take a prefix away.
        Endpoint::Url(url) => url.parse::<http::Uri>().map(|url| url.path().to_owned()).unwrap_or_default(),
    };
    let says = format!("it is called at {called:?}, and tollgate answers at {path}");
    (!called.ends_with(path)).then_some((says, "correct the path in clientConfig")).into_iter().collect()
}

/// Settings of a later Kubernetes, perhaps.
fn unknown(hook: &Hook) -> Vec<Problem> {
    const KNOWN: [&str; 12] = [
        "name",
        "admissionReviewVersions",
        "clientConfig",
        "failurePolicy",
        "matchConditions",
        "matchPolicy",
        "namespaceSelector",
        "objectSelector",
        "reinvocationPolicy",
        "rules",
        "sideEffects",
        "timeoutSeconds",
    ];
    let keys = hook.entry.as_object().into_iter().flat_map(|entry| entry.keys());
    let more = keys.filter(|key| !KNOWN.contains(&key.as_str()));
    more.map(|key| (format!("{key} is set, and is not in the manifests"), "remove it, unless you know what it does")).collect()
}

/// The texts of a list in each of some objects.
fn names<'a>(objects: impl IntoIterator<Item = &'a Value>, list: &'static str) -> impl Iterator<Item = &'a str> {
    objects.into_iter().flat_map(move |object| items(object, list).iter().filter_map(Value::as_str))
}

/// Whether a list of a rule has a name, or stands for all.
fn has(rule: &Value, list: &'static str, name: &str) -> bool {
    names([rule], list).any(|item| item == name || item == "*" || item == "*/*")
}
