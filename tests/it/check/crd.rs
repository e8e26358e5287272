//! `--crd`: what the CRD that will be installed drops, and its own rules, compared with what a real API server does.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use super::{GOOD, Ran, check, feed, folder};
use crate::support::{
    apiserver::{Cluster, Judging, Names, crds},
    serve::command,
};

/// Definitions as a file.
fn file(definitions: &[Value]) -> String {
    definitions.iter().map(|crd| format!("---\n{crd}\n")).collect()
}

fn check_by(definitions: &[Value], text: &str) -> Ran {
    let folder = folder(&[("crds.yaml", &file(definitions))]);
    feed(command(&folder).args(["check", "--output", "json", "--crd", "crds.yaml", "-"]), text)
}

#[test]
fn a_limit_that_the_crd_would_drop_is_a_fault() {
    let ran = check_by(&crds(Judging::No, Names::SharedOnly), GOOD);
    assert_eq!(ran.findings(), ["crd-pruned spec.rateLimiting.global 9:5"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("the CRD has no such field, and the API server drops it without a word"), "{}", ran.stdout);
    let ran = check_by(&crds(Judging::Yes, Names::Both), GOOD);
    assert_eq!((ran.code, ran.findings()), (0, vec![]));
}

#[test]
fn what_everybody_finds_is_told_once() {
    let text = GOOD.replace("    global:", "    perUsers: {}\n    global:").replace("provider: redis", "provider: memory");
    let ran = check_by(&crds(Judging::Yes, Names::Both), &text);
    assert_eq!(ran.findings(), ["TG011 spec.rateLimiting.perUsers 9:5", "TG001 spec.sessionStorage.provider 7:30"]);
}

#[test]
fn versions_and_kinds_that_are_not_served() {
    let definitions = crds(Judging::Yes, Names::Both);
    let ran = check_by(&definitions, &GOOD.replace("v1beta1", "v1"));
    assert_eq!((ran.code, ran.findings()), (1, vec!["crd-version apiVersion 1:13".to_owned()]));
    assert!(ran.stdout.contains("the CRD does not serve v1: write v1alpha1 or v1beta1"), "{}", ran.stdout);
    let only_virtual: Vec<_> = definitions.iter().filter(|crd| crd["spec"]["names"]["kind"] == "VirtualMCPServer").cloned().collect();
    let ran = check_by(&only_virtual, GOOD);
    assert_eq!(ran.code, 2, "nobody can tell");
    assert!(ran.stdout.contains("no CRD of MCPServer was found: name it with --crd"), "{}", ran.stdout);
}

#[test]
fn rules_of_somebody_elses_crd() {
    let mut definitions = crds(Judging::No, Names::Both);
    for crd in &mut definitions {
        for version in crd["spec"]["versions"].as_array_mut().expect("versions") {
            let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"];
            spec["x-kubernetes-validations"] = json!([
                {"rule": "!has(self.rateLimiting) || self.rateLimiting.global.maxTokens <= 50", "message": "at most 50: ask the platform team"},
                {"rule": "cel.bind(x, 1, x > 0)", "message": "never"},
            ]);
        }
    }
    let ran = check_by(&definitions, GOOD);
    assert_eq!(ran.code, 2, "one rule cannot be judged");
    assert_eq!(ran.findings(), ["crd-rule spec 6:1", "crd-rule spec 6:1"]);
    let messages: Vec<_> = [0, 1].map(|at| ran.json()["findings"][at]["message"].as_str().expect("text").to_owned()).into();
    assert_eq!(messages[0], "at most 50: ask the platform team");
    assert!(messages[1].starts_with("the CRD's rule \"cel.bind(x, 1, x > 0)\" cannot be judged here"), "{}", messages[1]);
}

#[test]
fn files_without_a_crd_of_ours_are_refused() {
    let folder = folder(&[("good.yaml", GOOD)]);
    let ran = check(&folder, &["--crd", "good.yaml", "good.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (2, "error: good.yaml has no CRD of MCPServer or VirtualMCPServer\n"));
    let ran = check(&folder, &["--crd", "gone.yaml", "good.yaml"]);
    assert!(ran.code == 2 && ran.stderr.contains("cannot read gone.yaml"), "{ran:?}");
}

/// The shipped definitions, with rules whose ids are nobody else's.
fn renamed() -> Vec<Value> {
    let text = serde_json::to_string(&crds(Judging::Yes, Names::Both)).expect("JSON");
    serde_json::from_str(&text.replace("\"TG0", "\"CRD0")).expect("JSON")
}

/// The ids of rules in a text.
fn ids(text: &str) -> BTreeSet<String> {
    text.match_indices("CRD0").filter_map(|(at, _)| text.get(at..at + 6)).map(str::to_owned).collect()
}

#[test]
fn a_real_api_server_refuses_by_the_same_rules_and_drops_the_same_fields() {
    let cluster = Cluster::start();
    cluster.install(renamed());
    let namespace = cluster.namespace("by-crd");
    let folder = folder(&[]);
    let (mut refused, mut dropped) = (0, 0);
    let samples = ["good", "bad"].into_iter().flat_map(crate::samples::samples);
    for sample in samples {
        let text = fs::read_to_string(&sample).expect("a sample").replace("namespace: tollgate-demo", &format!("namespace: {namespace}"));
        let mut check = command(&folder);
        check.args(["check", "--output", "json", "--crd", "cluster", "--kubeconfig"]).arg(cluster.kubeconfig()).arg("-");
        let ran = feed(&mut check, &text);
        let ours: String = ran.json()["findings"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|found| found["rule"] == "crd-rule")
            .map(Value::to_string)
            .collect();
        let theirs = cluster.kubectl_with(&["create", "--dry-run=server", "--validate=warn", "-f", "-"], &text);
        // With a wrong type or bound in it, an object never gets as far as its rules.
        if theirs.ok || !ids(&theirs.stderr).is_empty() {
            assert_eq!(ids(&ours), ids(&theirs.stderr), "{}: {}", sample.display(), theirs.stderr);
            refused += usize::from(!theirs.ok);
        }
        let unknown = theirs.stderr.matches("unknown field").count();
        let lost = ran.findings().iter().filter(|found| found.starts_with("crd-pruned") || found.starts_with("TG011")).count();
        assert_eq!(lost, unknown, "{}: {}", sample.display(), theirs.stderr);
        dropped += unknown;
    }
    assert!(refused >= 7 && dropped >= 1, "{refused} were refused by rules, {dropped} fields dropped");
}
