//! Starts: the greeting, development certificates, environment and flags, and starts that fail.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{refusal, refusal_with, run};
use crate::{
    support::{
        https::{Client, get},
        serve::{Serve, TOLLGATE},
    },
    webhook_https::{assert_serves, client},
};

/// The `curl` line of the greeting, exactly as printed.
fn printed_curl(server: &Serve) -> String {
    let line = server.greeting.lines().map(str::trim).find(|line| line.starts_with("curl "));
    line.unwrap_or_else(|| panic!("no curl in {:?}", server.greeting)).to_owned()
}

#[test]
fn the_printed_curl_command_runs_and_shows_a_denial() {
    let server = Serve::start(&[]);
    let curl = printed_curl(&server);
    let output = Command::new("sh").current_dir(server.folder.path()).args(["-c", &curl]).output().expect("sh is there");
    assert!(output.status.success(), "{curl}: {}", String::from_utf8_lossy(&output.stderr));
    let review: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(review["response"]["uid"], "try-it");
    assert_eq!(review["response"]["allowed"], false);
    assert_eq!(review["response"]["status"]["details"]["causes"][0]["reason"], "TG002", "{review}");
}

#[test]
fn the_printed_registration_names_this_server_and_its_ca() {
    let server = Serve::start(&[]);
    assert_eq!(STANDARD.decode(server.ca_bundle()).expect("base64"), server.ca().as_bytes());
    assert!(server.greeting.contains("\n  kubectl apply -f certs/dev/webhooks.yaml\n"), "{}", server.greeting);
    let yaml = fs::read_to_string(server.webhooks_yaml()).expect("written at start");
    let configurations: Vec<Value> = serde_saphyr::from_multiple(&yaml).expect("YAML");
    let mut urls = BTreeMap::new();
    for configuration in &configurations {
        for webhook in configuration["webhooks"].as_array().expect("webhooks") {
            assert_eq!(webhook["clientConfig"]["caBundle"], server.ca_bundle(), "{webhook}");
            urls.insert(webhook["clientConfig"]["url"].as_str().expect("a URL").to_owned(), &configuration["kind"]);
        }
    }
    let wanted = [("mutate", "MutatingWebhookConfiguration"), ("validate", "ValidatingWebhookConfiguration")];
    let urls: Vec<_> = urls.iter().map(|(url, kind)| (url.as_str(), kind.as_str().expect("a kind"))).collect();
    assert_eq!(
        urls,
        wanted.map(|(path, kind)| (format!("https://{}/{path}", server.address), kind)).each_ref().map(|(url, kind)| (url.as_str(), *kind))
    );
}

#[tokio::test]
async fn development_certificates_are_kept_between_runs() {
    let kept = tempfile::tempdir().expect("a folder");
    let dev = kept.path().join("dev");
    let args = ["--tls-dev", dev.to_str().expect("UTF-8")];
    let files = || ["ca.crt", "ca.key", "tls.crt", "tls.key"].map(|name| fs::read_to_string(dev.join(name)).expect("made at start"));
    let first = {
        let server = Serve::start(&args);
        assert_serves(&Client::new(server.address, &files()[0])).await;
        files()
    };
    let server = Serve::start(&args);
    assert_eq!(files(), first);
    assert_serves(&Client::new(server.address, &first[0])).await;
}

/// Removes files of a development folder, starts, and checks that clients that trust the CA in it are served.
async fn assert_serves_without(names: &[&str], dev: &Path) {
    for name in names {
        fs::remove_file(dev.join(name)).expect("it was there");
    }
    let server = Serve::start(&["--tls-dev", dev.to_str().expect("UTF-8")]);
    assert_serves(&Client::new(server.address, &fs::read_to_string(dev.join("ca.crt")).expect("there"))).await;
}

#[tokio::test]
async fn development_certificates_that_lost_a_file_are_made_whole() {
    let kept = tempfile::tempdir().expect("a folder");
    let dev = kept.path().join("dev");
    assert_serves_without(&[], &dev).await;
    assert_serves_without(&["tls.key"], &dev).await;
    assert_serves_without(&["tls.crt"], &dev).await;
    assert_serves_without(&["ca.crt"], &dev).await;
    assert_serves_without(&["ca.key", "ca.crt"], &dev).await;
}

#[tokio::test]
async fn a_leaf_whose_key_was_written_and_not_itself_is_made_again() {
    let kept = tempfile::tempdir().expect("a folder");
    let dev = kept.path().join("dev");
    assert_serves_without(&[], &dev).await;
    // As after a crash between the two.
    fs::write(dev.join("tls.key"), rcgen::KeyPair::generate().expect("a key").serialize_pem()).expect("written");
    assert_serves_without(&[], &dev).await;
}

#[tokio::test]
async fn two_servers_started_at_once_in_one_folder_both_serve() {
    let kept = tempfile::tempdir().expect("a folder");
    let dev = kept.path().join("dev");
    let dev_flag = dev.to_str().expect("UTF-8");
    let servers: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..2).map(|_| scope.spawn(|| Serve::start(&["--tls-dev", dev_flag]))).collect();
        starts.into_iter().map(|start| start.join().expect("it starts")).collect()
    });
    let ca = fs::read_to_string(dev.join("ca.crt")).expect("made at start");
    for server in &servers {
        assert_eq!(STANDARD.decode(server.ca_bundle()).expect("base64"), ca.as_bytes());
        assert_serves(&Client::new(server.address, &ca)).await;
    }
}

#[test]
fn a_port_that_is_taken_is_a_failed_start_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    for flag in ["--listen", "--metrics-listen"] {
        let stderr = refusal(&folder, &[flag, &address]);
        assert!(stderr.contains(&format!("error: cannot listen on {address}: Address already in use")), "{stderr}");
    }
}

#[tokio::test]
async fn the_environment_stands_in_for_flags() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let environment = [("TOLLGATE_LISTEN", address.as_str()), ("TOLLGATE_METRICS_LISTEN", "127.0.0.1:0")];
    let stderr = refusal_with(&folder, &[], &environment);
    assert!(stderr.contains(&format!("error: cannot listen on {address}: ")), "{stderr}");
    // A flag wins over the environment.
    let stderr = refusal_with(&folder, &["--listen", "nowhere"], &environment);
    assert!(stderr.contains("invalid value 'nowhere' for '--listen <ADDRESS>'"), "{stderr}");
}

#[test]
fn the_listening_address_may_come_from_the_environment_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = crate::support::serve::command(&folder)
        .arg("serve")
        .envs([("TOLLGATE_LISTEN", "127.0.0.1:0"), ("TOLLGATE_METRICS_LISTEN", "127.0.0.1:0"), ("TOLLGATE_TLS_DEV", "elsewhere")])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut greeting = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut greeting).expect("UTF-8");
    assert!(folder.path().join("elsewhere/webhooks.yaml").exists(), "what is greeted with is there");
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
    assert!(greeting.starts_with("tollgate serves POST /validate and /mutate on https://127.0.0.1:"), "{greeting}");
    assert!(!greeting.contains(":8443"), "{greeting}");
}

#[test]
fn a_bad_flag_is_exit_code_2_and_help() {
    let folder = tempfile::tempdir().expect("a folder");
    for (args, text) in [
        (["--listen", "8443"].as_slice(), "invalid value '8443' for '--listen <ADDRESS>': invalid socket address"),
        (
            &["--shared-alias", "renam"],
            "invalid value 'renam' for '--shared-alias <MODE>': possible values are auto, rename, mirror, warn, deny",
        ),
        (&["--crd-global", "perhaps"], "[possible values: auto, yes, no]"),
        (&["--deadline", "10"], "invalid value '10' for '--deadline <DURATION>': "),
        (&["--deadline", "0s"], "invalid value '0s' for '--deadline <DURATION>': "),
        (&["--drain=-1s"], "invalid value '-1s' for '--drain <DURATION>': "),
        (&["--max-in-flight", "many"], "invalid value 'many' for '--max-in-flight <N>': "),
        (&["--max-connections", "70000"], "70000 is not in 1..=65535"),
        (&["--log-format", "xml"], "[possible values: text, json]"),
        (&["--tls-cert", "tls.crt"], "--tls-key <FILE>"),
        (&["--tls-key", "tls.key"], "--tls-cert <FILE>"),
        (&["--client-name", "kube-apiserver"], "--client-ca <FILE>"),
        (&["--context", "kind-dev"], "$KUBECONFIG is not set and ~/.kube/config does not exist, so --context cannot be used"),
        (&["--no-cluster", "--kubeconfig", "some.yaml"], "cannot be used with"),
        (&["--no-cluster", "--context", "kind-dev"], "cannot be used with"),
        (&["--tls-dev", "dev", "--tls-cert", "tls.crt", "--tls-key", "tls.key"], "cannot be used with"),
        (&["--kubeconfig", "none.yaml"], "cannot use none.yaml: No such file or directory"),
        (&["--lisen", "127.0.0.1:0"], "a similar argument exists: '--listen'"),
    ] {
        let stderr = refusal(&folder, args);
        assert!(stderr.starts_with("error: ") || stderr.contains("\nerror: "), "{args:?}: {stderr}");
        assert!(stderr.contains(text), "{args:?}: {stderr}");
    }
}

#[test]
fn every_command_has_help() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = |args: &[&str]| {
        let output = run(&folder, args, &[]);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let all = help(&["--help"]);
    let commands = all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(commands.contains(&"serve") && commands.contains(&"crds"), "{all}");
    for command in commands {
        let text = help(&[command, "--help"]);
        for part in [&format!("Usage: tollgate {command} "), "Examples:\n", "Exit codes: ", "[env: TOLLGATE_LOG_FORMAT=]"] {
            assert!(text.contains(part), "{command} --help lacks {part:?}:\n{text}");
        }
        // Besides those of the flags of all commands.
        let variables = text.matches("[env: TOLLGATE_").count() - 2;
        assert_eq!(
            variables > 0,
            ["serve", "proxy", "authz", "audit"].contains(&command),
            "{command}: variables are for services:\n{text}"
        );
    }
    assert!(help(&["--version"]).starts_with("tollgate "), "{TOLLGATE} --version");
}

#[test]
fn the_help_of_serve_names_the_environment_variable_of_each_flag() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = run(&folder, &["serve", "--help"], &[]);
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let flags = help.lines().filter_map(|line| line.trim().split("--").nth(1).filter(|_| line.trim().starts_with('-')));
    let flags: Vec<_> = flags.filter_map(|flag| flag.split_whitespace().next()).collect();
    assert!(flags.len() > 15, "{flags:?}");
    for flag in flags.iter().filter(|flag| !["help", "version", "verbose..."].contains(flag)) {
        let variable = format!("[env: TOLLGATE_{}=]", flag.to_uppercase().replace('-', "_"));
        assert!(help.contains(&variable), "--{flag} has no {variable}:\n{help}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_hold_certificates_is_a_failed_start() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("certs"), "a file").expect("written");
    let stderr = refusal(&folder, &["--drain", "0s"]);
    assert!(stderr.contains("error: cannot generate development certificates: cannot use certs/dev: "), "{stderr}");
    let server = Serve::start(&[]);
    assert_eq!(get(server.metrics, "/healthz").await.text(), "ok\n");
    assert_serves(&client(&server)).await;
}

#[tokio::test]
async fn every_address_is_of_both_families_and_reached_by_either() {
    let server = Serve::start_listening("[::]:0", &[]);
    server.wait_for_log("ready: the TLS port answers");
    assert_eq!(server.address.ip().to_string(), "::");
    let addresses = ["127.0.0.1", "::1"].map(|ip| SocketAddr::new(ip.parse().expect("an address"), server.address.port()));
    let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
    for address in addresses.into_iter().filter(|address| address.is_ipv4() || has_ipv6) {
        assert_serves(&Client::new(address, &server.ca())).await;
    }
}
