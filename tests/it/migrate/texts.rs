//! How one text is rewritten.

use tollgate::manifest::migrate::{Left, migrate};

const HEAD: &str = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPServer\nmetadata: {name: a}\nspec:\n  rateLimiting:\n";

fn migrated(text: &str) -> (String, Vec<Left>) {
    let migration = migrate(text).unwrap_or_else(|broken| panic!("{broken}: {text}"));
    (migration.apply(text), migration.left)
}

/// The limits after, where nothing is left to do.
fn becomes(before: &str, after: &str) {
    let (text, left) = migrated(&format!("{HEAD}{before}"));
    assert!(left.is_empty(), "{before}: {left:?}");
    assert_eq!(text, format!("{HEAD}{after}"));
}

/// Limits that stay as they are, for this reason.
fn stays(limits: &str, why: &str) {
    let text = format!("{HEAD}{limits}");
    let (same, left) = migrated(&text);
    assert_eq!(same, text);
    assert!(left.iter().any(|left| left.problem.to_string().contains(why)), "{limits}: {left:?}");
}

#[test]
fn the_key_is_renamed_in_every_dress() {
    for (before, after) in
        [("shared", "global"), ("\"shared\"", "\"global\""), ("'shared'", "'global'"), ("\"\\u0073hared\"", "\"global\"")]
    {
        becomes(&format!("    {before} : {{maxTokens: 1}}\n"), &format!("    {after} : {{maxTokens: 1}}\n"));
    }
    becomes("    ? shared\n    : {maxTokens: 1}\n", "    ? global\n    : {maxTokens: 1}\n");
    becomes("    !!str shared: {maxTokens: 1}\n", "    !!str global: {maxTokens: 1}\n");
    becomes("    {shared: {maxTokens: 1}, tools: [{shared: {}}]}\n", "    {global: {maxTokens: 1}, tools: [{global: {}}]}\n");
    becomes(
        "    tools:\n    - shared: &s {maxTokens: 1} # shared\n      name: shared\n    - name: b\n      shared: *s\n",
        "    tools:\n    - global: &s {maxTokens: 1} # shared\n      name: shared\n    - name: b\n      global: *s\n",
    );
}

#[test]
fn other_places_that_say_shared_are_not_touched() {
    let text = format!(
        "{HEAD}    perUser: {{shared: 1}}\n    shared: null\n  podTemplateSpec: {{shared: {{shared: 1}}}}\n---\nkind: Other\nspec: {{rateLimiting: {{shared: {{}}}}}}\n"
    );
    assert_eq!(migrated(&text), (text.clone(), vec![]));
    let other = format!("{HEAD}    shared: {{}}\n").replace("toolhive.stacklok.dev", "example.com");
    assert_eq!(migrated(&other), (other.clone(), vec![]));
}

#[test]
fn beside_an_equal_global_it_goes() {
    becomes(
        "    shared:\n      maxTokens: 60\n      refillPeriod: 60s\n    global:\n      maxTokens: 60\n      refillPeriod: 1m0s # kept\n",
        "    global:\n      maxTokens: 60\n      refillPeriod: 1m0s # kept\n",
    );
    becomes(
        "    global: {maxTokens: 60, refillPeriod: 1m}\n    shared:\n      maxTokens: 60\n      refillPeriod: 60s\n\n    # next\n    tools: []\n",
        "    global: {maxTokens: 60, refillPeriod: 1m}\n\n    # next\n    tools: []\n",
    );
}

#[test]
fn beside_an_equal_global_it_goes_wherever_it_stands() {
    let bucket = "{maxTokens: 6, refillPeriod: 1m}";
    becomes(&format!("    global: {bucket}\n    shared: {bucket}\n"), &format!("    global: {bucket}\n"));
    becomes(&format!("    global: {bucket}\r\n    shared: {bucket}\r\n  x: 1\n"), &format!("    global: {bucket}\r\n  x: 1\n"));
    becomes(&format!("    global: {bucket}\n    shared: {bucket}"), &format!("    global: {bucket}"));
    becomes(&format!("    {{shared: {bucket}, global: {bucket}}}\n"), &format!("    {{global: {bucket}}}\n"));
    becomes(&format!("    {{global: {bucket}, shared: {bucket}}}\n"), &format!("    {{global: {bucket}}}\n"));
    becomes(
        &format!("    tools:\n    - shared: {bucket}\n      name: a\n      global: {bucket}\n"),
        &format!("    tools:\n    - name: a\n      global: {bucket}\n"),
    );
    becomes(&format!("    global: &g {bucket}\n    shared: *g\n    tools: []\n"), &format!("    global: &g {bucket}\n    tools: []\n"));
}

#[test]
fn what_a_person_has_to_decide_is_left_and_told() {
    let bucket = "{maxTokens: 6, refillPeriod: 1m}";
    stays("    shared: {maxTokens: 1, refillPeriod: 1m}\n    global: {maxTokens: 2, refillPeriod: 1m}\n", "disagree");
    stays("    shared: 5\n", "it is not a map");
    stays(&format!("    shared: {bucket} # why\n    global: {bucket}\n"), "remove it by hand");
    stays(&format!("    shared: &s {bucket}\n    global: *s\n"), "remove it by hand");
    stays(&format!("    &k shared: {bucket}\n  other: *k\n"), "cannot be changed without changing something else");
    let text = format!("{HEAD}    *k : {bucket}\n").replace("{name: a}", "{name: &k shared}");
    let (same, left) = migrated(&text);
    assert_eq!((same, left[0].problem.to_string().as_str()), (text, "is an alias: write global by hand"));
}

#[test]
fn an_anchor_is_renamed_only_where_all_its_places_are_limits() {
    becomes(
        "    tools:\n    - &tool {name: a, shared: {maxTokens: 1}}\n    - {<<: *tool, name: b}\n",
        "    tools:\n    - &tool {name: a, global: {maxTokens: 1}}\n    - {<<: *tool, name: b}\n",
    );
    let text = format!("{HEAD}    &limits {{shared: {{maxTokens: 1}}}}\n  copy: *limits\n");
    let (same, left) = migrated(&text);
    assert_eq!(same, text);
    assert!(left[0].problem.fault.contains("stands in an anchor that is used elsewhere, too"), "{left:?}");
}

#[test]
fn an_object_that_opts_out_is_left_without_a_fault() {
    let text =
        format!("{HEAD}    shared: {{maxTokens: 1}}\n").replace("{name: a}", "{name: a, annotations: {tollgate.dev/shared-alias: keep}}");
    let (same, left) = migrated(&text);
    assert_eq!((same, left.len(), left[0].is_wanted), (text, 1, true));
    assert_eq!(left[0].problem.to_string(), "not renamed: tollgate.dev/shared-alias is keep");
}

#[test]
fn dumps_keep_their_records_of_the_past() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: toolhive.stacklok.dev/v1alpha1\n  kind: VirtualMCPServer\n  metadata:\n    \
        annotations:\n      kubectl.kubernetes.io/last-applied-configuration: '{\"spec\":{\"rateLimiting\":{\"shared\":{}}}}'\n    \
        managedFields: [{fieldsV1: {f:spec: {f:rateLimiting: {f:shared: {}}}}}]\n  spec: {config: {rateLimiting: {shared: {maxTokens: 1}}}}\n";
    assert_eq!(migrated(text).0, text.replace("rateLimiting: {shared", "rateLimiting: {global"));
}

#[test]
fn json_stays_json() {
    let text = "{\"apiVersion\": \"toolhive.stacklok.dev/v1beta1\", \"kind\": \"MCPServer\", \"spec\": {\"rateLimiting\": {\n\
        \t\"tools\": [{\"name\": \"a\", \"shared\": {\"maxTokens\": 1}}],\n\t\"global\": {\"maxTokens\": 2},\n\t\"shared\": {\"maxTokens\": 2}\n}}}";
    let (after, left) = migrated(text);
    assert!(left.is_empty(), "{left:?}");
    serde_json::from_str::<serde_json::Value>(&after).expect("JSON");
    assert_eq!(after, text.replacen("shared", "global", 1).replace(",\n\t\"shared\": {\"maxTokens\": 2}", ""));
}
