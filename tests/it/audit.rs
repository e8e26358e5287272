//! `tollgate audit -` on what `kubectl get -o yaml` prints, and of clusters that respond slowly.

mod paging;

use crate::{
    check::{GOOD, Ran, bad, feed, folder},
    support::serve::command,
};

fn audit(text: &str, args: &[&str]) -> Ran {
    let folder = folder(&[]);
    feed(command(&folder).arg("audit").args(args).arg("-"), text)
}

/// As kubectl prints several objects.
fn list(objects: &[&str]) -> String {
    let item = |object: &&str| {
        let indented: String = object.lines().map(|line| format!("  {line}\n")).collect();
        format!("- {}", indented.trim_start())
    };
    format!("apiVersion: v1\nitems:\n{}kind: List\n", objects.iter().map(item).collect::<String>())
}

const PER_USER: &str = "\
apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPServer
metadata: {name: issues, namespace: tools}
spec:
  externalAuthConfigRef: {name: api}
  sessionStorage: {provider: redis, address: 'redis:6379', passwordRef: {name: redis, key: password}}
  rateLimiting:
    perUser: {maxTokens: 5, refillPeriod: 1m0s}
";

fn external_auth(name: &str, of_type: &str) -> String {
    format!(
        "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPExternalAuthConfig\n\
         metadata: {{name: {name}, namespace: tools}}\nspec: {{type: {of_type}}}\n"
    )
}

#[test]
fn variables_of_a_pod_are_flags() {
    let text = list(&[&GOOD.replace("global:", "shared:")]);
    let run = |variable: &str, value: &str| feed(command(&folder(&[])).args(["audit", "-"]).env(variable, value), &text);
    for (value, code) in [("1", 1), ("true", 1), ("yes", 1), ("0", 0), ("false", 0), ("no", 0), ("", 0), ("perhaps", 2)] {
        assert_eq!(run("TOLLGATE_STRICT", value).code, code, "{value:?}");
    }
    let plain = audit(&text, &[]).stdout;
    for variable in ["TOLLGATE_OUTPUT", "TOLLGATE_CONFIG"] {
        assert_eq!(run(variable, "").stdout, plain, "an empty {variable} is unset");
    }
}

#[test]
fn totals_are_by_namespace() {
    let other = GOOD.replace("namespace: demo", "namespace: tools").replace("rateLimiting", "replicas: 1\n  x");
    let ran = audit(&list(&[GOOD, &bad().replace("name: fetch", "name: gone"), &other]), &[]);
    let table = "\
NAMESPACE  OBJECTS  WITH LIMITS  ERRORS  WARNINGS
demo             2            2       1         0
tools            1            0       0         0

3 checked: 1 error
";
    assert!(ran.stdout.ends_with(table), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("error[TG006]: spec.rateLimiting.global.maxTokens: is 0\n  --> <stdin>:"), "{}", ran.stdout);
    assert_eq!(ran.code, 1);
    let json = audit(&list(&[GOOD, &bad(), &other]), &["--output", "json"]).json();
    assert_eq!(
        json["summary"]["namespaces"]["demo"],
        serde_json::json!({"judged": 2, "limited": 2, "errors": 1, "warnings": 0, "ignored": 0})
    );
}

#[test]
fn neighbours_in_the_stream_count_wherever_they_stand() {
    let found = |objects: &[&str]| audit(&list(objects), &["--output", "json"]).findings();
    let api = external_auth("api", "headerInjection");
    assert_eq!(found(&[PER_USER]), [""; 0], "nothing is known of what is not there");
    let outgoing = found(&[PER_USER, &api]);
    assert_eq!(outgoing, ["outgoing-auth spec.externalAuthConfigRef 7:5"]);
    assert_eq!(found(&[&external_auth("api", "embeddedAuthServer"), PER_USER]), [""; 0]);
    assert_eq!(found(&[PER_USER, &external_auth("another", "xaa")]), ["TG106 spec.externalAuthConfigRef.name 7:35"]);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: other, namespace: tools}\n";
    assert_eq!(found(&[PER_USER, secret]), ["TG106 spec.sessionStorage.passwordRef.name 8:82"]);
    let elsewhere = secret.replace("tools", "demo");
    assert_eq!(found(&[PER_USER, &elsewhere]), [""; 0], "another namespace says nothing about this one");
}

#[test]
fn what_kubectl_applied_and_is_not_held_is_found() {
    let applied =
        r#"{"spec": {"rateLimiting": {"global": {"maxTokens": 9}, "perUser": {"maxTokens": 1}, "tools": [{"name": "t", "shared": {}}]}}}"#;
    let annotated = GOOD.replace(
        "  name: fetch\n",
        &format!("  name: fetch\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{applied}'\n"),
    );
    let ran = audit(&annotated, &["--output", "json"]);
    assert_eq!(
        ran.findings(),
        [
            "limits-lost spec.rateLimiting.perUser 10:3",
            "limits-lost spec.rateLimiting.tools 10:3",
            "shared-applied spec.rateLimiting.tools[0].shared 10:3",
        ]
    );
    assert_eq!(ran.code, 1);
    assert_eq!(audit(&annotated.replace("limits-lost", ""), &["--strict"]).code, 1);
}

#[test]
fn what_is_broken_or_missing_is_told_and_the_rest_is_judged() {
    let broken = "kind: MCPServer\n\tspec: {}\n";
    let ran = audit(&format!("{}---\n{broken}", bad()), &["--output", "json"]);
    assert_eq!(ran.code, 2);
    assert_eq!(ran.findings().len(), 2, "{ran:?}");
    let folder =
        folder(&[(".tollgate.toml", "[[ignore]]\nrule = \"TG006\"\nreason = \"known\"\nobject = \"demo/fetch\"\n"), ("all.yaml", &bad())]);
    let ran = Ran::of(command(&folder).args(["audit", "all.yaml"]).output().expect("it starts"));
    assert_eq!((ran.code, ran.stdout.ends_with("\n1 checked: 1 ignored\n")), (0, true), "{ran:?}");
    let ran = Ran::of(command(&folder).args(["audit", "gone.yaml"]).output().expect("it starts"));
    assert_eq!((ran.code, ran.stdout.contains("the file does not exist")), (2, true), "{ran:?}");
    let ran = Ran::of(command(&folder).args(["audit", "-", "--namespace", "demo"]).output().expect("it starts"));
    assert_eq!((ran.code, ran.stderr.contains("cannot be used with")), (2, true), "{ran:?}");
}
