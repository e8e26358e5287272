//! `tollgate explain`: rules in full, limits in words and numbers, calls put to the limiter.

use std::{fs, process::Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::{report::MORE, rules::RULES};

use crate::support::serve::command;

/// Runs `tollgate explain` in a folder of its own.
struct Explain {
    folder: TempDir,
}

impl Explain {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn file(self, name: &str, object: &Value) -> Self {
        fs::write(self.folder.path().join(name), object.to_string()).expect("written");
        self
    }

    fn run(&self, args: &[&str]) -> Output {
        command(&self.folder).arg("explain").args(args).output().expect("the binary starts")
    }

    #[track_caller]
    fn human(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.human(&[args, &["--output", "json"]].concat())).expect("JSON")
    }

    /// The exit code, and what is said on stderr.
    fn fails(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.run(args);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn bucket(tokens: u32, period: &str) -> Value {
    json!({"maxTokens": tokens, "refillPeriod": period})
}

/// A server with these limits, whose callers sign in.
fn server(limits: &Value) -> Value {
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer", "metadata": {"name": "search", "namespace": "demo"},
        "spec": {
            "sessionStorage": {"provider": "redis", "address": "redis:6379"}, "oidcConfigRef": {"name": "corp-oidc"},
            "rateLimiting": limits,
        },
    })
}

#[test]
fn a_file_that_cannot_be_read_does_not_take_the_rest_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken.yaml");
    std::fs::write(&broken, "kind: MCPServer\n\tspec: {}\n").expect("a file");
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/samples/good/mcpserver-per-user.yaml");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"));
    let output = command.arg("explain").arg(&broken).args([good, "TG002"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("MCPServer tollgate-demo/github") && said.contains("TG002 (deny)"), "{said}");
    assert!(errors.contains("broken.yaml:2:1: a tab in the indentation"), "{errors}");
}

#[test]
fn every_rule_is_listed_and_told_in_full() {
    let explain = Explain::new();
    let list = explain.human(&[]);
    assert_eq!(list.lines().map(|line| &line[..5]).collect::<Vec<_>>(), RULES.map(|rule| rule.id));
    let ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    let reported = explain.json(&ids);
    assert_eq!(reported, explain.json(&[]), "the list has the same, for programs");
    for (rule, reported) in RULES.iter().zip(reported.as_array().expect("a list")) {
        assert_eq!((&reported["id"], &reported["says"]), (&json!(rule.id), &json!(rule.says)));
        let found = reported["found"].as_array().expect("a list");
        assert!(
            !found.is_empty() && found.iter().all(|found| found.as_str().is_some_and(|found| found.starts_with(rule.id))),
            "{reported}"
        );
        let human = explain.human(&[&rule.id.to_lowercase()]);
        for part in ["Why", "Example", "In the CRD", "In the webhook"] {
            assert!(human.contains(&format!("\n{part}")), "{}: no {part}", rule.id);
        }
        assert!(human.lines().any(|line| line.starts_with("  -") || line.starts_with("  +")), "{human}");
    }
    // What docs/rules.md says about the CRDs.
    for id in ["TG001", "TG002", "TG003", "TG004", "TG008", "TG009", "TG010"] {
        assert!(explain.human(&[id]).contains("CEL at MCPServer") || id == "TG010", "{id} has a CEL rule");
    }
    assert!(explain.human(&["TG010"]).contains("CEL at VirtualMCPServer spec"));
    assert!(explain.human(&["TG104"]).contains("not warn"));
}

#[test]
fn what_is_found_beside_the_rules_is_told_too() {
    let explain = Explain::new();
    for row in MORE {
        let human = explain.human(&[row.id]);
        let title = format!("{} ({}): {}\n\nWhy\n  ", row.id, row.severity.name(), row.says);
        assert!(human.starts_with(&title) && human.len() > title.len() + 50, "{human}");
        assert_eq!(explain.json(&[&row.id.to_uppercase()])[0]["why"], row.why);
    }
}

#[test]
fn limits_are_told_in_words_and_numbers() {
    let limits = json!({
        "global": bucket(300, "1m0s"),
        "tools": [{"name": "search", "perUser": bucket(5, "1m")}, {"name": "fetch", "perUser": bucket(1, "1h"), "global": bucket(7, "1s")}],
    });
    let explain = Explain::new().file("fetch.json", &server(&limits));
    let expected = "\
MCPServer demo/search, spec.rateLimiting
  any tool  300 at once, then one every 200ms for everyone; at most 600 in any 1m0s
  fetch     1 at once, then one every 1h0m0s per user; at most 2 in any 1h0m0s
            7 at once, then one every 142.857ms for everyone; at most 14 in any 1s
  search    5 at once, then one every 12s per user; at most 10 in any 1m0s
  Redis keys: ~1,202 for 600 users (2 for everyone, 2 for each user seen in the last 2h0m0s)
";
    assert_eq!(explain.human(&["fetch.json", "--users", "600"]), expected);
    let reported = explain.json(&["fetch.json", "--users", "600"]);
    let object = &reported[0]["objects"][0];
    assert_eq!(object["redis"], json!({"forEveryone": 2, "forEachUser": 2, "kept": "2h0m0s", "users": 600, "total": 1202}));
    assert_eq!(object["levels"][2]["perUser"]["intervalSeconds"], 12.0);
}

#[test]
fn both_kinds_all_places_and_lists() {
    let virtual_server = json!({
        "apiVersion": "toolhive.stacklok.dev/v1alpha1", "kind": "VirtualMCPServer", "metadata": {"name": "v"},
        "spec": {
            "sessionStorage": {"provider": "redis", "address": "redis:6379"},
            "config": {"rateLimiting": {"shared": bucket(9, "9s")}},
        },
    });
    let list = json!({"kind": "List", "items": [server(&json!({"perUser": bucket(2, "1s")})), virtual_server, {"kind": "Service"}, server(&Value::Null)]});
    let explain = Explain::new().file("list.json", &list);
    let reported = explain.human(&["list.json"]);
    assert!(reported.contains("MCPServer demo/search, spec.rateLimiting\n  any tool  2 at once"), "{reported}");
    assert!(reported.contains("VirtualMCPServer default/v, spec.config.rateLimiting\n  any tool  9 at once"), "{reported}");
    assert!(reported.contains("Redis keys: ~500 for 500 users (1 for each user seen in the last 2s)"), "{reported}");
    assert!(reported.contains("TG101 spec.config.rateLimiting.shared: deprecated"), "warnings are reported too: {reported}");
    assert!(reported.contains("MCPServer demo/search: no limits"), "{reported}");
    assert_eq!(explain.json(&["list.json"])[0]["skipped"], 1);
    for name in ["v", "default/v"] {
        let reported = explain.human(&["list.json", "--name", name, "--load", "20"]);
        assert!(
            reported.starts_with("VirtualMCPServer default/v") && reported.contains("9 of 20 pass") && !reported.contains("search"),
            "{reported}"
        );
    }
    let (code, said) = explain.fails(&["list.json", "--load", "20"]);
    assert_eq!(
        (code, said.as_str()),
        (
            Some(2),
            "error: --load, --for and --plot are about one object with limits that pass the rules, and 2 of 3 here do: choose one with --name\n"
        )
    );
    let (code, said) = explain.fails(&["list.json", "--name", "w"]);
    assert_eq!((code, said.as_str()), (Some(2), "error: w not found among demo/search, default/v, demo/search\n"));
}

#[test]
fn what_cannot_be_explained_is_told_by_the_exit_code() {
    let explain =
        Explain::new().file("denied.json", &server(&json!({"perUser": bucket(0, "1d")}))).file("ours.json", &json!({"kind": "Pod"}));
    fs::write(explain.folder.path().join("broken.yaml"), "kind: MCPServer\na: [").expect("written");
    let denied = explain.run(&["denied.json"]);
    assert_eq!(denied.status.code(), Some(1));
    let said = String::from_utf8(denied.stdout).expect("text");
    assert!(
        said.contains("a rule denies the limits") && said.contains("TG006 spec.rateLimiting.perUser.maxTokens") && said.contains("TG007"),
        "{said}"
    );
    assert!(explain.human(&["ours.json"]).contains("ours.json: no MCPServer or VirtualMCPServer (1 other objects)"));
    for (args, reported) in [
        (["TG999"].as_slice(), "TG999 is neither a rule nor a file: `tollgate explain` lists the rules"),
        (&["tg113"], "tg113 is neither a rule nor a file: did you mean TG103?"),
        (&["TG2"], "did you mean TG002?"),
        (&["crd-prune"], "did you mean crd-pruned?"),
        (&["absent.yaml"], "absent.yaml is neither a rule nor a file: "),
        (&["broken.yaml"], "broken.yaml:2:"),
        (&["denied.json", "--load", "1/s"], "are about one object with limits that pass the rules, and 0 of 1 here do\n"),
        (&["denied.json", "--load", "lots"], "\"lots\" is not a number of calls"),
        (&["TG001", "--plot", "a/calls.gif"], "plots are SVG: name the file a/calls.svg"),
        (&["TG001", "--plot", "calls.png"], "name the file calls.svg"),
    ] {
        let (code, stderr) = explain.fails(args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(reported), "{args:?}: {stderr}");
    }
}

#[test]
fn calls_pass_as_the_limits_say() {
    let limits = json!({"global": bucket(100, "1m"), "tools": [{"name": "search", "perUser": bucket(5, "10m")}]});
    let explain = Explain::new().file("search.json", &server(&limits));
    let run = |args: &[&str]| explain.json(&[&["search.json"], args].concat())[0]["objects"][0]["simulated"].clone();

    // Five at once; then one for every two minutes that have passed before the last call, which comes after 29.
    let one = run(&["--load", "10,1/m", "--for", "30m"]);
    assert_eq!((&one["tool"], &one["asked"], &one["admitted"]), (&json!("search"), &json!(40), &json!(19)));
    assert_eq!(one["denied"], json!([{"limit": "tools[search].perUser", "calls": 21, "pace": "5 at once, then one every 2m0s"}]));
    // 0, 1, 2 .. minutes: who calls too early by a minute waits one more; the first five denied at once wait for two.
    assert_eq!(one["longestWaitSeconds"], 120.0);

    // Two callers have twice as much at once.
    assert_eq!(run(&["--load", "20", "--for", "1s", "--callers", "2"])["admitted"], 10);
    // Another tool has the server's own limit only.
    let other = run(&["--load", "300,10/s", "--for", "1m", "--tool", "fetch"]);
    assert_eq!(other["admitted"], 100 + 99, "the last call comes after 59.9 s, when 99.83 tokens have come back");
    assert_eq!(other["denied"][0]["limit"], "global");

    let (code, stderr) = explain.fails(&["search.json", "--load", "1/1ns"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("more than 1,000,000"), "{stderr}");
}

#[test]
fn a_picture_shows_what_was_counted() {
    let mut object = server(&json!({"perUser": bucket(4, "40s")}));
    object["metadata"]["name"] = json!("a<b>&\"c");
    let explain = Explain::new().file("odd.json", &object);
    let said = explain.human(&["odd.json", "--plot", "calls.svg"]);
    // As much again as the limit takes, for three periods: 8 at once, and 8 in 40 s.
    assert!(said.contains("15 of 32 pass; 17 denied by perUser"), "{said}");
    let svg = fs::read_to_string(explain.folder.path().join("calls.svg")).expect("drawn");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert!(svg.contains("a&lt;b&gt;&amp;&quot;c") && !svg.contains("a<b>"), "{svg}");
    assert!(svg.contains("perUser: 4 at once, then one every 10s"), "{svg}");
    let path = |class: &str| {
        let path = svg.lines().rfind(|line| line.starts_with(&format!("<path class=\"{class}\""))).expect("drawn").to_owned();
        let lowest = path.split('V').skip(1).filter_map(|rest| rest.split(['H', '"', 'Z']).next()?.parse::<f64>().ok());
        lowest.fold(f64::INFINITY, f64::min)
    };
    // More calls are higher up, which in SVG is less.
    assert!(path("come") < path("pass"), "{svg}");
}
