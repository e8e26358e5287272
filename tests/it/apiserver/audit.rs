//! `tollgate audit` of a real API server, that holds faults from before the webhook was installed.

use std::process::Command;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tollgate::cluster::list::{Pages, Resource};

use super::{
    installed::install_oidc_configs,
    places::{Place, bucket},
};
use crate::{
    check::Ran,
    support::{
        apiserver::{Cluster, Judging, Names, crds},
        serve::{TOLLGATE, wait_until},
    },
};

/// A cluster with the definitions that ToolHive ships, and one object for each thing that an audit finds.
struct Stock {
    cluster: Cluster,
}

impl Stock {
    fn new() -> Self {
        Self::in_cluster(Cluster::start())
    }

    fn in_cluster(cluster: Cluster) -> Self {
        cluster.install(crds(Judging::No, Names::SharedOnly));
        install_oidc_configs(&cluster);
        for namespace in ["alpha", "beta"] {
            cluster.kubectl(&["create", "namespace", namespace]).expect_ok();
        }
        let stock = Self { cluster };
        stock.settle("MCPExternalAuthConfig", "api", &json!({"type": "headerInjection"}));
        stock.settle("MCPOIDCConfig", "corp", &json!({"type": "inline"}));
        stock
    }

    /// A neighbour in `alpha`, as soon as its kind is served.
    fn settle(&self, kind: &str, name: &str, spec: &Value) {
        let object = json!({
            "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": kind,
            "metadata": {"name": name, "namespace": "alpha"}, "spec": spec,
        });
        wait_until("the kind is served", || self.cluster.apply(&object).ok);
    }

    fn audit(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(TOLLGATE);
        command.arg("audit").args(args).env("KUBECONFIG", self.cluster.kubeconfig()).current_dir("/");
        Ran::of(command.output().expect("the binary starts"))
    }

    /// `namespace/name rule path` of each finding.
    fn found(&self, args: &[&str]) -> Vec<String> {
        let ran = self.audit(&[&["--output", "json"], args].concat());
        let json = ran.json();
        let text = |found: &Value, pointer: &str| found.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        let rows = json["findings"].as_array().expect("a list").iter().map(|found| {
            let [namespace, name, rule, path] = ["/object/namespace", "/object/name", "/rule", "/path"].map(|pointer| text(found, pointer));
            format!("{namespace}/{name} {rule} {path}")
        });
        rows.collect()
    }
}

fn named(mut manifest: Value, name: &str) -> Value {
    manifest["metadata"]["name"] = json!(name);
    manifest
}

#[test]
fn what_went_wrong_before_anybody_judged_is_found() {
    let stock = Stock::new();
    let cluster = &stock.cluster;
    assert_eq!(stock.audit(&[]).stdout, "0 checked: nothing to check\n");

    // Dropped by a definition that knows no global.
    let lost = named(Place::Server.with("alpha", &json!({"global": bucket(10), "perUser": bucket(1)})), "lost");
    cluster.kubectl_with(&["apply", "--validate=false", "-f", "-"], &lost.to_string()).expect_ok();
    // Applied by a GitOps tool under the old name; its sign-in config is not in this namespace.
    let old = named(Place::VirtualConfig.with("beta", &json!({"shared": bucket(10)})), "old");
    cluster.apply_server_side(&old, "argocd-controller", &[]).expect_ok();
    // Signs itself in, elsewhere, and its password is nowhere.
    let mut outgoing = named(Place::Server.with("alpha", &json!({"perUser": bucket(1)})), "outgoing");
    outgoing["spec"]["oidcConfigRef"] = Value::Null;
    outgoing["spec"]["externalAuthConfigRef"] = json!({"name": "api"});
    outgoing["spec"]["sessionStorage"]["passwordRef"] = json!({"name": "redis", "key": "password"});
    cluster.apply(&outgoing).expect_ok();
    let missing = named(Place::Server.with("beta", &json!({"perUser": bucket(0)})), "wrong");
    cluster.apply(&missing).expect_ok();
    cluster.apply(&named(Place::Server.bare("beta"), "none")).expect_ok();

    let alpha = [
        "alpha/lost limits-lost spec.rateLimiting.global",
        "alpha/outgoing outgoing-auth spec.externalAuthConfigRef",
        "alpha/outgoing TG106 spec.sessionStorage.passwordRef.name",
    ];
    let beta = [
        "beta/wrong TG106 spec.oidcConfigRef.name",
        "beta/wrong TG006 spec.rateLimiting.perUser.maxTokens",
        "beta/old TG101 spec.config.rateLimiting.shared",
        "beta/old shared-applied spec.config.rateLimiting.shared",
    ];
    let all = [&alpha[..], &beta[..]].concat();
    assert_eq!(stock.found(&[]), all);
    assert_eq!(stock.found(&["--chunk-size", "1"]), all, "page by page");
    assert_eq!(stock.found(&["--namespace", "alpha"]), alpha);
    assert_eq!(stock.found(&["--namespace", "beta", "--namespace", "alpha,beta"]), all);

    let nowhere = "NAMESPACE  OBJECTS  WITH LIMITS  ERRORS  WARNINGS\nalhpa            0            0       0         0\n\n0 checked: nothing to check\n";
    assert_eq!(stock.audit(&["--namespace", "alhpa"]).stdout, nowhere, "a slip of the pen shows");
    let ran = stock.audit(&[]);
    assert!(ran.stdout.contains(": Secret \"redis\" does not exist (yet)\n--> MCPServer alpha/outgoing\n"), "{}", ran.stdout);
    let table = "\
NAMESPACE  OBJECTS  WITH LIMITS  ERRORS  WARNINGS
alpha            2            2       2         1
beta             3            2       1         3

5 checked: 3 errors, 4 warnings
";
    assert!(ran.stdout.ends_with(table), "{}", ran.stdout);
    assert!(ran.stdout.contains("the manager argocd-controller applies it (server-side): write global in that manifest"), "{}", ran.stdout);
    assert_eq!((ran.code, ran.stderr.contains("checked, reading")), (1, false), "nobody sees progress here: {ran:?}");

    // The same from outside, by what kubectl prints.
    let kinds = "mcpservers,virtualmcpservers,mcpoidcconfigs,mcpexternalauthconfigs";
    let printed = cluster.kubectl(&["get", kinds, "-A", "-o", "yaml", "--show-managed-fields"]).expect_ok().stdout;
    let folder = crate::check::folder(&[("all.yaml", &printed)]);
    let file = folder.path().join("all.yaml").display().to_string();
    // Secrets are not in there, and of beta's sign-in configs there is none to show that they were asked for.
    let outside: Vec<_> = all.iter().filter(|found| !found.contains("TG106")).copied().collect();
    assert_eq!(stock.found(&[&file]), outside);
}

#[test]
fn a_list_goes_on_when_its_token_has_expired() {
    // With its cache, it would answer from what it remembers itself, for minutes.
    let stock = Stock::in_cluster(Cluster::start_with(&["--watch-cache=false"]));
    let server = |name: &str| named(Place::Server.with("alpha", &json!({"shared": bucket(10)})), name);
    for name in ["a", "b", "c"] {
        stock.cluster.apply(&server(name)).expect_ok();
    }
    let path = "/apis/toolhive.stacklok.dev/v1beta1/mcpservers";
    let raw = |query: &str| stock.cluster.kubectl(&["get", "--raw", &format!("{path}?limit=1{query}")]);
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let kubeconfig = Kubeconfig::read_from(stock.cluster.kubeconfig()).expect("written");
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("of a cluster");
        let client = kube::Client::try_from(config).expect("a client");
        let resource =
            Resource { api: "/apis/toolhive.stacklok.dev/v1beta1", plural: "mcpservers", namespace: None, names_only: false, labels: "" };
        let mut pages = Pages::of(&client, resource, 1);
        let mut names = Vec::new();
        let mut next = async || {
            let page = pages.next().await.expect("the API server answers")?;
            let name = |object: &Value| object["metadata"]["name"].as_str().map(str::to_owned);
            names.extend(page.iter().filter_map(name));
            Some(())
        };
        next().await.expect("a first page");
        let first: Value = serde_json::from_str(&raw("").expect_ok().stdout).expect("JSON");
        let old = format!("&continue={}", first["metadata"]["continue"].as_str().expect("there is more"));
        // What was read is gone, and what was not has changed.
        stock.cluster.kubectl(&["delete", "mcpserver", "a", "-n", "alpha"]).expect_ok();
        stock.cluster.apply(&server("d")).expect_ok();
        stock.cluster.compact();
        wait_until("the token has expired", || {
            let said = raw(&old);
            assert!(said.ok || said.stderr.contains("too old"), "{}", said.stderr);
            !said.ok
        });
        while next().await.is_some() {}
        assert_eq!(names, ["a", "b", "c", "d"], "each once, none left out, in the state that there is");
    });
}

#[test]
fn what_may_not_be_read_is_told() {
    let stock = Stock::new();
    stock.cluster.apply(&Place::Server.with("alpha", &json!({"shared": bucket(10)}))).expect_ok();
    let role = ["create", "clusterrole", "half", "--verb=list", "--resource=mcpservers.toolhive.stacklok.dev"];
    stock.cluster.kubectl(&role).expect_ok();
    let subject = "--serviceaccount=tollgate-system:tollgate";
    stock.cluster.kubectl(&["create", "clusterrolebinding", "half", "--clusterrole=half", subject]).expect_ok();
    let kubeconfig = stock.cluster.tollgate_kubeconfig.display().to_string();
    let mut ran = None;
    wait_until("the role counts", || {
        let said = stock.audit(&["--kubeconfig", &kubeconfig]);
        let counts = said.stdout.contains("1 checked");
        ran = Some(said);
        counts
    });
    let ran = ran.expect("asked");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stdout.contains("warning[TG101]"), "what may be read is judged: {}", ran.stdout);
    for plural in ["virtualmcpservers", "mcpoidcconfigs", "mcpexternalauthconfigs"] {
        let reported = format!("error[unreadable]: cannot list {plural}: ");
        assert!(ran.stdout.contains(&reported) && ran.stdout.contains(&format!("grant list on {plural}")), "{plural}: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("TG106"), "unknown is not missing: {}", ran.stdout);
}

#[test]
fn a_cluster_without_our_kinds_holds_nothing_to_audit() {
    let cluster = Cluster::start();
    let output = Command::new(TOLLGATE).arg("audit").env("KUBECONFIG", cluster.kubeconfig()).output().expect("the binary starts");
    let ran = Ran::of(output);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no version of toolhive.stacklok.dev is served, so nothing can be audited"), "{ran:?}");
}
