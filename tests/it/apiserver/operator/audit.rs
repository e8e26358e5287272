//! `tollgate audit` beside what the operator rendered.

use std::{fs, path::Path};

use serde_json::json;

use super::{Limits, MIRROR, State, Way, cluster, found, rendered, run_audit, webhook};
use crate::{
    apiserver::places::{Place, bucket},
    check::{Ran, folder},
    support::{
        apiserver::Names,
        operator::{Operator, Reads},
        serve::wait_until,
    },
};

/// Of what was found, only the limits that are not enforced.
fn only_lost(ran: &Ran) -> Vec<String> {
    found(ran).into_iter().filter(|row| row.contains(" not-enforced ")).collect()
}

#[test]
fn limits_that_the_operator_did_not_render_are_found() {
    let cluster = cluster(Names::Both);
    let namespace = cluster.namespace("lost");
    let renames = webhook(&cluster, &namespace, &["--shared-alias", "rename"]);
    let operator = Operator::start(&cluster, &namespace, Reads::SharedOnly);
    let places = [Place::Server, Place::Tool, Place::VirtualConfig, Place::VirtualSpec];
    let manifests = |key: &str| places.map(|place| place.with(&namespace, &json!({key: bucket(100), "perUser": bucket(5)}))).to_vec();
    Way::ClientSide.apply(&cluster, manifests("global"));
    let state = rendered(&cluster, &namespace, &places);
    let valid = &state.object(Place::Server)["status"]["conditions"][0];
    assert_eq!((&valid["status"], &valid["reason"]), (&json!("True"), &json!("RateLimitConfigValid")), "the operator sees no fault");
    assert_eq!(state.rendered(Place::Server), Limits::from([("/perUser".to_owned(), "5 per 1m0s".to_owned())]), "the limit is gone");

    let lost = [
        "MCPServer/server not-enforced spec.rateLimiting.global",
        "MCPServer/tool not-enforced spec.rateLimiting.tools[0].global",
        "VirtualMCPServer/virtual-config not-enforced spec.config.rateLimiting.global",
        "VirtualMCPServer/virtual-spec not-enforced spec.rateLimiting.global",
        "VirtualMCPServer/virtual-spec not-enforced spec.rateLimiting.perUser",
    ];
    let ran = run_audit(&cluster, &["--output", "json"]);
    assert_eq!((ran.code, only_lost(&ran)), (1, lost.map(str::to_owned).to_vec()), "{ran:?}");
    assert_eq!(
        only_lost(&run_audit(&cluster, &["--output", "json", "--chunk-size", "1", "--namespace", &namespace])),
        lost,
        "page by page"
    );
    let human = run_audit(&cluster, &[]).stdout;
    assert!(
        human.contains(
            "error[not-enforced]: spec.rateLimiting.global: is stored, and not enforced (it is not in ConfigMap server-runconfig)"
        ),
        "{human}"
    );
    for format in ["sarif", "junit", "github"] {
        let ran = run_audit(&cluster, &["--output", format]);
        assert!(ran.code == 1 && ran.stdout.contains("not-enforced"), "{format}: {ran:?}");
    }
    // The same from outside, by what kubectl prints.
    let kinds = "mcpservers,virtualmcpservers,configmaps";
    let printed = cluster.kubectl(&["get", kinds, "-n", &namespace, "-o", "yaml"]).expect_ok().stdout;
    let stream = folder(&[("all.yaml", &printed)]);
    let file = stream.path().join("all.yaml").display().to_string();
    assert_eq!(only_lost(&run_audit(&cluster, &["--output", "json", &file])), lost);

    // With both names at the place that is read, all is enforced.
    drop(renames);
    let mirrors = webhook(&cluster, &namespace, &MIRROR);
    Way::ClientSide.apply(&cluster, manifests("shared"));
    rendered(&cluster, &namespace, &places);
    let ran = run_audit(&cluster, &["--output", "json"]);
    let spec = [
        "VirtualMCPServer/virtual-spec not-enforced spec.rateLimiting.global",
        "VirtualMCPServer/virtual-spec not-enforced spec.rateLimiting.perUser",
    ];
    assert_eq!(only_lost(&ran), spec, "{ran:?}");
    drop((operator, mirrors));

    // The operator is gone: what it has not rendered is only warned of.
    let bare = cluster.namespace("unwatched");
    cluster.apply(&Place::Server.with(&bare, &json!({"shared": bucket(9)}))).expect_ok();
    assert_eq!(
        found(&run_audit(&cluster, &["--output", "json", "--namespace", &bare])),
        ["MCPServer/server TG101 spec.rateLimiting.shared", "MCPServer/server shared-applied spec.rateLimiting.shared"]
    );
    let (kind, name) = ("mcpservers.toolhive.stacklok.dev", Place::Server.name());
    let edit = json!({"spec": {"rateLimiting": {"shared": bucket(7), "global": bucket(7)}}}).to_string();
    let patch = || cluster.kubectl(&["patch", kind, name, "-n", &namespace, "--type=merge", "-p", &edit]).ok;
    wait_until("the webhook is not called any more", patch);
    let ran = run_audit(&cluster, &["--output", "json", "--namespace", &namespace]);
    let late = ran.json()["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|found| found["object"]["name"] == "server" && found["rule"] == "not-enforced")
        .cloned()
        .expect("found");
    assert_eq!(late["severity"], "warning", "{late}");
    assert!(
        late["message"].as_str().is_some_and(|message| message.starts_with("7 per 1m0s is stored, and 100 per 1m0s enforced")),
        "{late}"
    );
}

#[test]
fn where_config_maps_may_not_be_read_one_line_says_so() {
    let cluster = cluster(Names::Both);
    let namespace = cluster.namespace("unread");
    for name in ["a", "b"] {
        let mut manifest = Place::Server.with(&namespace, &json!({"global": bucket(9)}));
        manifest["metadata"]["name"] = json!(name);
        cluster.apply(&manifest).expect_ok();
    }
    let operator = Operator::start(&cluster, &namespace, Reads::SharedOnly);
    wait_until("everything is rendered", || {
        let state = State::of(&cluster, &namespace);
        ["a-runconfig", "b-runconfig"].iter().all(|name| state.find("ConfigMap", name).is_some())
    });
    drop(operator);
    let kubeconfig = cluster.tollgate_kubeconfig.display().to_string();
    let audit = || run_audit(&cluster, &["--output", "json", "--kubeconfig", &kubeconfig]);
    let grant = |name: &str, resources: &str| {
        cluster.kubectl(&["create", "clusterrole", name, "--verb=list", &format!("--resource={resources}")]).expect_ok();
        let subject = "--serviceaccount=tollgate-system:tollgate";
        cluster.kubectl(&["create", "clusterrolebinding", name, &format!("--clusterrole={name}"), subject]).expect_ok();
    };
    grant("objects", "mcpservers.toolhive.stacklok.dev,virtualmcpservers.toolhive.stacklok.dev");
    let mut ran = audit();
    wait_until("the role counts", || {
        ran = audit();
        ran.code == 0
    });
    assert_eq!(only_lost(&ran), [""; 0], "unknown is not a fault");
    let lines: Vec<_> =
        ran.stderr.lines().filter(|line| line.contains("cannot compare limits with what ToolHive's operator rendered")).collect();
    assert!(lines.len() == 1 && lines[0].contains("cannot list configmaps"), "{}", ran.stderr);
    // With what manifests/components/audit grants, they are compared.
    let rbac = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/components/audit/rbac.yaml");
    cluster.kubectl_with(&["apply", "-f", "-"], &fs::read_to_string(rbac).expect("shipped")).expect_ok();
    wait_until("the manifests' role counts", || only_lost(&audit()).len() == 2);
    assert!(!audit().stderr.contains("cannot compare"), "nothing to say");
}
