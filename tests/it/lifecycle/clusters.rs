//! Which cluster a server follows, and what it does without one, or without an answer.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{refusal_with, watched::wait_for_status};
use crate::{
    support::{
        api::{Api, kubeconfig},
        link::{Flow, Link},
        serve::Serve,
    },
    webhook_https::{bucket, client, object, response, review},
};

const FAST: &[&str] = &["--schema-poll", "100ms"];

/// An API server whose CRD of MCPServer has these names of the bucket.
fn cluster(names: &'static [&'static str]) -> Api {
    let known: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    let document = json!({"components": {"schemas": {"MCPServer": {
        "x-kubernetes-group-version-kind": [{"group": "toolhive.stacklok.dev", "version": "v1beta1", "kind": "MCPServer"}],
        "properties": {"spec": {"properties": {"rateLimiting": {"properties": known}}}},
    }}}});
    Api::start(move |path| match path {
        "/openapi/v3" => (200, json!({"paths": {"apis/toolhive.stacklok.dev/v1beta1": {"serverRelativeURL": "/openapi/v3/toolhive"}}})),
        "/openapi/v3/toolhive" => (200, document.clone()),
        _ => {
            (404, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "none", "reason": "NotFound", "code": 404}))
        }
    })
}

/// As ToolHive publishes it.
fn published() -> Api {
    cluster(&["shared", "perUser", "tools"])
}

/// Whether a limit that says `shared` is renamed, and what both hooks say about it.
async fn rename(server: &Serve) -> (bool, String) {
    let review = review(object(json!({"shared": bucket()}))).to_string();
    let mutated = response(&client(server).post("/mutate", review.clone()).await);
    let validated = response(&client(server).post("/validate", review).await);
    (mutated.get("patch").is_some(), format!("{} {}", mutated["warnings"], validated["warnings"]))
}

async fn assert_keeps_shared(server: &Serve, why: &str) {
    let (is_renamed, warnings) = rename(server).await;
    assert!(!is_renamed, "{}", server.log());
    assert!(warnings.contains(why), "{warnings}");
}

async fn assert_renames(server: &Serve) {
    let (is_renamed, warnings) = rename(server).await;
    assert!(is_renamed && warnings.contains("renamed to global"), "{warnings} {}", server.log());
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A server in a home of its own, which renames where it may.
fn start(home: TempDir, environment: &[(&str, &str)], args: &[&str]) -> Serve {
    Serve::start_with(home, environment, &[&["--shared-alias", "rename"], args].concat())
}

fn home() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn first_line(server: &Serve) -> String {
    server.wait_for_log("starting");
    server.log().lines().next().expect("a line").to_owned()
}

fn warnings(server: &Serve) -> usize {
    server.log().lines().filter(|line| line.contains(" WARN ")).count()
}

#[tokio::test]
async fn the_kubeconfig_of_the_environment_is_followed_as_kubectl_does() {
    let api = published();
    let server = start(home(), &[("KUBECONFIG", text(&api.kubeconfig()))], &[]);
    wait_for_status(&server, "/readyz", 200).await;
    assert_keeps_shared(&server, "the installed CRD lacks global").await;
    let line = first_line(&server);
    assert!(line.contains(r#"crd_global="auto""#) && line.contains(&format!("http://{}/", api.address)), "{line}");
}

#[tokio::test]
async fn the_kubeconfig_in_the_home_is_followed_as_kubectl_does() {
    let api = published();
    let home = tempfile::tempdir().expect("a folder");
    fs::create_dir(home.path().join(".kube")).expect("made");
    fs::copy(api.kubeconfig(), home.path().join(".kube/config")).expect("copied");
    let server = start(home, &[], &[]);
    wait_for_status(&server, "/readyz", 200).await;
    assert_keeps_shared(&server, "the installed CRD lacks global").await;
}

#[tokio::test]
async fn of_a_list_of_kubeconfigs_a_missing_one_is_skipped_and_the_first_counts() {
    let (api, other) = (published(), cluster(&["shared", "global"]));
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("other"), kubeconfig("other", &format!("http://{}", other.address)).to_string()).expect("written");
    let list = format!("none:{}::{}", text(&api.kubeconfig()), text(&folder.path().join("other")));
    let environment = [("KUBECONFIG", list.as_str())];
    let server = start(home(), &environment, &[]);
    wait_for_status(&server, "/readyz", 200).await;
    assert_keeps_shared(&server, "the installed CRD lacks global").await;
    let server = start(home(), &environment, &["--context", "other"]);
    wait_for_status(&server, "/readyz", 200).await;
    assert_renames(&server).await;
    let stderr = refusal_with(&folder, &["--context", "prod"], &environment);
    let said = format!(
        "cannot use {}, {}: it has no context \"prod\"; its contexts: test, other",
        text(&api.kubeconfig()),
        text(&folder.path().join("other"))
    );
    assert!(stderr.contains(&said), "{stderr}");
}

#[tokio::test]
async fn without_a_kubeconfig_the_first_log_line_says_what_is_assumed() {
    for (environment, args, why) in [
        ([].as_slice(), [].as_slice(), "none ($KUBECONFIG is not set and ~/.kube/config does not exist)"),
        (&[("KUBECONFIG", "gone.yaml")], &[], "none (no file of $KUBECONFIG exists)"),
        (&[("KUBECONFIG", "/dev/null")], &[], "none ($KUBECONFIG names none)"),
        (&[("KUBECONFIG", "/dev/null")], &["--no-cluster"], "none (--no-cluster)"),
    ] {
        let server = start(home(), environment, args);
        let line = first_line(&server);
        assert!(line.contains("yes (assumed: no cluster)") && line.contains(why), "{line}");
        assert_renames(&server).await;
    }
}

#[tokio::test]
async fn no_cluster_asks_none() {
    let api = published();
    let server = start(home(), &[("KUBECONFIG", text(&api.kubeconfig()))], &["--no-cluster"]);
    wait_for_status(&server, "/readyz", 200).await;
    assert_renames(&server).await;
}

#[tokio::test]
async fn what_is_said_of_the_crds_counts_more_than_the_cluster() {
    let api = published();
    for (flag, is_renamed) in [("yes", true), ("no", false)] {
        let environment = [("KUBECONFIG", text(&api.kubeconfig()).to_owned())];
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let server = start(home(), &environment, &["--crd-global", flag]);
        assert_eq!(rename(&server).await.0, is_renamed, "--crd-global {flag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_implicit_cluster_that_does_not_answer_is_one_warning_until_it_does() {
    let api = cluster(&["shared", "global", "tools"]);
    for flow in [Flow::Refused, Flow::NoAnswers] {
        let link = Link::to(api.address).await;
        link.set(flow);
        let home = tempfile::tempdir().expect("a folder");
        let config = home.path().join("stale.yaml");
        fs::write(&config, kubeconfig("stale", &format!("http://{}", link.address)).to_string()).expect("written");
        let environment = [("KUBECONFIG", text(&config).to_owned())];
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let server = start(home, &environment, FAST);
        wait_for_status(&server, "/readyz", 200).await;
        server.wait_for_log("cannot ask the cluster for its CRDs: shared is not renamed until that works");
        assert_keeps_shared(&server, "the installed CRD is not read yet").await;
        // That there is no second warning can only be seen for a while; with FAST, several tries fail in it.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(warnings(&server), 1, "{flow:?}: {}", server.log());
        link.set(Flow::Free);
        link.cut();
        server.wait_for_log("the installed CRDs can be read again");
        assert_renames(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_named_is_waited_for() {
    let api = cluster(&["shared", "global", "tools"]);
    let link = Link::to(api.address).await;
    link.set(Flow::Refused);
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("named.yaml"), kubeconfig("named", &format!("http://{}", link.address)).to_string()).expect("written");
    let server = start(folder, &[], &[&["--kubeconfig", "named.yaml"], FAST].concat());
    server.wait_for_log("ready: the TLS port answers");
    // Longer than the 3 s after which a cluster that was not named is no longer waited for.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let answer = wait_for_status(&server, "/readyz", 503).await;
    assert!(answer.text().contains("[-] installed CRDs read\n"), "{}", answer.text());
    link.set(Flow::Free);
    wait_for_status(&server, "/readyz", 200).await;
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_matters_as_much_as_it_was_named() {
    let good = kubeconfig("old", "https://127.0.0.1:1");
    let with = |pointer: &str, value: Value| {
        let mut config = good.clone();
        *config.pointer_mut(pointer).expect("it is there") = value;
        config.to_string()
    };
    for (config, why) in [
        ("clusters: [".to_owned(), "failed to parse kubeconfig YAML"),
        (with("/current-context", json!("gone")), "it has no context \"gone\"; its contexts: old"),
        (with("/current-context", json!("")), "it has no current-context; choose one with --context"),
        (with("/clusters/0/name", json!("gone")), "it has no cluster \"old\", which context \"old\" names"),
        (with("/clusters/0/cluster", json!({"server": ""})), "cluster \"old\" has no server"),
        (with("/clusters/0/cluster", json!({"server": "https://a", "certificate-authority": "gone.crt"})), "gone.crt"),
        (with("/clusters/0/cluster", json!({"server": "https://a", "proxy-url": "ftp://b"})), "proxy-url: a proxy's URL begins with"),
        (with("/users/0/user", json!({"client-certificate": "gone.crt", "client-key": "gone.key"})), "gone.crt"),
        (with("/users/0/user", json!({"tokenFile": "gone.token"})), "gone.token"),
        (
            with("/users/0/user", json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin"}})),
            "auth exec",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("bad.yaml"), config).expect("written");
        let stderr = refusal_with(&folder, &["--kubeconfig", "bad.yaml"], &[]);
        assert!(stderr.contains(why) && stderr.contains("bad.yaml: "), "{why}: {stderr}");
        let server = start(folder, &[("KUBECONFIG", "bad.yaml")], &[]);
        wait_for_status(&server, "/readyz", 200).await;
        assert_keeps_shared(&server, "the installed CRD is not read yet").await;
        server.wait_for_log("the cluster cannot be used");
        let log = server.log().replace("\\\"", "\"");
        assert!(log.contains(why) && log.contains("bad.yaml: "), "{why}: {log}");
        assert_eq!(warnings(&server), 1, "{}", server.log());
    }
}

#[tokio::test]
async fn a_credential_plugin_that_waits_for_somebody_does_not_hold_up_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = kubeconfig("sso", "https://127.0.0.1:1");
    config["users"][0]["user"] = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "sleep", "args": ["20"]}});
    fs::write(folder.path().join("sso.yaml"), config.to_string()).expect("written");
    let mut server = start(folder, &[("KUBECONFIG", "sso.yaml")], &[]);
    wait_for_status(&server, "/readyz", 200).await;
    server.wait_for_log("the credential plugin has not finished within 3s");
    assert_keeps_shared(&server, "the installed CRD is not read yet").await;
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
}
