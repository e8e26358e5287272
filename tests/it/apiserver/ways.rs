//! Ways to an API server: proxies of the environment and of the kubeconfig, taken where kubectl takes them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    api::kubeconfig,
    apiserver::{Cluster, Judging, MAIN, Names, crds},
    detour::Detour,
    find::neighbour,
    serve::{Serve, clean, command},
};

/// A name that no resolver knows, so that only a proxy leads there.
const FAR: &str = "https://api.tollgate.invalid:6443";

/// A folder with a kubeconfig of an administrator, for a server and with further keys of its cluster.
fn home(server: &str, more: &Value) -> TempDir {
    let home = tempfile::tempdir().expect("a folder");
    let mut config = kubeconfig("far", server);
    config["users"][0]["user"] = json!({"token": "admin-token"});
    let cluster = config["clusters"][0]["cluster"].as_object_mut().expect("an object");
    cluster.insert("insecure-skip-tls-verify".to_owned(), json!(true));
    cluster.extend(more.as_object().expect("an object").clone());
    fs::write(home.path().join("far.yaml"), config.to_string()).expect("written");
    home
}

fn tollgate(home: &TempDir, environment: &[(&str, String)], args: &[&str]) -> Output {
    let environment = environment.iter().map(|(name, value)| (*name, value));
    command(home).args(args).env("KUBECONFIG", "far.yaml").envs(environment).output().expect("the binary starts")
}

/// Whether kubectl gets an answer in the same surroundings.
fn kubectl_is_answered(home: &TempDir, environment: &[(&str, String)]) -> bool {
    let mut kubectl: Command = clean(neighbour("kubectl").to_str().expect("UTF-8"), home);
    kubectl.env("HOME", home.path()).env("KUBECONFIG", "far.yaml").envs(environment.iter().map(|(name, value)| (*name, value)));
    kubectl.args(["get", "--raw", "/version", "--request-timeout=5s"]).output().expect("kubectl starts").status.success()
}

fn good_sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/samples/good/mcpserver-global.yaml")
}

#[test]
fn every_command_goes_through_the_proxy_that_kubectl_uses() {
    let (http, socks) = (Detour::http(MAIN.address), Detour::socks5(MAIN.address));
    let (http_url, socks_url) = (format!("http://{}", http.address), format!("socks5://{}", socks.address));
    let none = json!({});
    for (proxy, environment, more) in [
        (&http, vec![("HTTPS_PROXY", http_url.clone())], &none),
        (&http, vec![("https_proxy", http.address.to_string())], &none),
        (&http, vec![("HTTPS_PROXY", http_url.clone()), ("NO_PROXY", "localhost,127.0.0.1, 10.0.0.0/8,.svc,".to_owned())], &none),
        (&http, vec![], &json!({"proxy-url": http_url})),
        (&http, vec![("NO_PROXY", "*".to_owned())], &json!({"proxy-url": http_url})),
        (&socks, vec![("HTTPS_PROXY", socks_url.clone())], &none),
        (&socks, vec![("HTTPS_PROXY", "http://127.0.0.1:1".to_owned())], &json!({"proxy-url": socks_url})),
    ] {
        let home = home(FAR, more);
        assert!(kubectl_is_answered(&home, &environment), "kubectl with {environment:?} {more}");
        assert!(proxy.asked().iter().all(|target| target == "api.tollgate.invalid:6443"));
        let sample = good_sample().display().to_string();
        for (args, reported) in [
            (["audit", "--namespace", "nowhere"].as_slice(), "0 checked: nothing to check"),
            (&["check", "--crd", "cluster", &sample], "no problems"),
            (&["doctor", "--output", "json"], "keep every field of the limits"),
            (
                &["proxy", "--watch", "default/gone", "--upstream", "http://127.0.0.1:1"],
                "the cluster has no MCPServer or VirtualMCPServer default/gone",
            ),
        ] {
            let output = tollgate(&home, &environment, args);
            let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(said.contains(reported), "{args:?} with {environment:?} {more}: {said}");
            let asked = proxy.asked();
            assert!(!asked.is_empty() && asked.iter().all(|target| target == "api.tollgate.invalid:6443"), "{args:?}: {asked:?}");
        }
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).chain([("KUBECONFIG", "far.yaml")]).collect();
        let serve = Serve::start_with(home, &environment, &[]);
        serve.wait_for_log("read the installed CRDs");
        assert!(!proxy.asked().is_empty());
    }
}

#[test]
fn where_kubectl_uses_no_proxy_no_command_does() {
    let proxy = Detour::http(MAIN.address);
    let url = format!("http://{}", proxy.address);
    // Loopback is excepted by itself.
    let near = home(&format!("https://{}", MAIN.address), &json!({}));
    let environment = [("HTTPS_PROXY", url.clone())];
    assert!(kubectl_is_answered(&near, &environment));
    let output = tollgate(&near, &environment, &["audit", "--namespace", "nowhere"]);
    assert!(output.status.success(), "{output:?}");
    // Of what is listed, the name cannot be resolved, so that it is not reached at all.
    let far = home(FAR, &json!({}));
    for list in ["api.tollgate.invalid", ".tollgate.invalid", "other,tollgate.invalid:6443,", "*"] {
        let environment = [("HTTPS_PROXY", url.clone()), ("NO_PROXY", list.to_owned())];
        assert!(!kubectl_is_answered(&far, &environment), "{list}");
        let output = tollgate(&far, &environment, &["audit", "--namespace", "nowhere"]);
        assert_eq!(output.status.code(), Some(2), "{list}: {output:?}");
    }
    assert_eq!(proxy.asked(), [""; 0]);
}

#[test]
fn a_kubeconfig_that_is_missing_in_a_list_is_skipped_by_every_command() {
    let cluster = Cluster::start();
    cluster.install(crds(Judging::Yes, Names::Both));
    let home = home(&format!("https://{}", cluster.address), &json!({}));
    let environment = [("KUBECONFIG", "gone.yaml:far.yaml:gone-too.yaml".to_owned())];
    let output = command(&home).arg("audit").envs(environment.iter().map(|(name, value)| (*name, value))).output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    for (args, reported) in [
        (["audit", "--context", "gone"].as_slice(), "error: cannot use far.yaml: it has no context \"gone\"; its contexts: far"),
        (&["audit", "--kubeconfig", "gone.yaml"], "error: cannot use gone.yaml: No such file or directory"),
        (&["doctor", "--kubeconfig", "."], "error: cannot use .: "),
    ] {
        let output = tollgate(&home, &[], args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && stderr.contains(reported), "{args:?}: {stderr}");
    }
}
