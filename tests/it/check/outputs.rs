//! Output for programs.

use std::{fs, process::Command};

use quick_junit::{Report, TestCaseStatus};
use serde_json::Value;

use super::{GOOD, bad, check, folder};

/// One of everything: clean, faults, a warning that is ignored, another that is not, and a text that cannot be read.
fn mixed() -> tempfile::TempDir {
    let slow = GOOD.replace("refillPeriod: 1m0s", "refillPeriod: 240h").replace("fetch", "slow");
    folder(&[
        (".tollgate.toml", "[[ignore]]\nrule = \"TG104\"\nreason = \"meant\"\n"),
        ("a good one.yaml", GOOD),
        ("bad.yaml", &bad().replace("    global:", "    shared:")),
        ("broken.yaml", "kind: MCPServer\n\tspec: {}\n"),
        ("slow.yaml", &slow),
    ])
}

/// SARIF's own schema, which comes with a development dependency.
fn sarif_schema() -> Value {
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output().expect("rustc is there");
    let host = String::from_utf8(host.stdout).expect("text");
    // What other machines need may never have been fetched here.
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host.trim()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("its output is JSON");
    let package = metadata["packages"].as_array().expect("packages").iter().find(|package| package["name"] == "serde-sarif");
    let manifest = package.expect("a development dependency")["manifest_path"].as_str().expect("a path").to_owned();
    let schema = fs::read_to_string(manifest.replace("Cargo.toml", "src/schema.json")).expect("the crate has it");
    // A bracket that JavaScript takes for itself and others do not.
    serde_json::from_str(&schema.replace("{2}]?$", "{2}\\\\]?$")).expect("a schema is JSON")
}

#[test]
fn sarif_is_what_its_schema_says() {
    let schema = sarif_schema();
    assert!(schema["title"].as_str().is_some_and(|title| title.contains("Version 2.1.0")), "another schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let empty = folder(&[]);
    let folder = mixed();
    let ran = check(&folder, &["--output", "sarif", "."]);
    for log in [ran.json(), check(&empty, &["--output", "sarif", "."]).json()] {
        let faults: Vec<_> = validator.iter_errors(&log).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(faults.is_empty(), "{faults:#?}\n{log:#}");
        assert!(serde_json::from_value::<serde_sarif::sarif::Sarif>(log).is_ok());
    }
    let mut wrong = ran.json();
    wrong["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(!validator.is_valid(&wrong), "the schema is really asked");
}

#[test]
fn sarif_says_where_which_rule_and_what_is_ignored() {
    let folder = mixed();
    let ran = check(&folder, &["--output", "sarif", "."]);
    assert_eq!(ran.code, 2);
    let run = &ran.json()["runs"][0];
    let results = run["results"].as_array().expect("results");
    let of = |id: &str| results.iter().find(|result| result["ruleId"] == id).unwrap_or_else(|| panic!("{id} is missing: {run:#}"));
    let found = of("TG006");
    assert_eq!(run["tool"]["driver"]["rules"][found["ruleIndex"].as_u64().expect("a number") as usize]["id"], "TG006");
    assert_eq!(found["level"], "error");
    let at = &found["locations"][0]["physicalLocation"];
    assert_eq!(at["artifactLocation"]["uri"], "bad.yaml");
    assert_eq!(at["region"], serde_json::json!({"startLine": 10, "startColumn": 18, "endLine": 10, "endColumn": 19}));
    let logical = &found["locations"][0]["logicalLocations"][0]["fullyQualifiedName"];
    assert_eq!(logical, "MCPServer/demo/fetch/spec.rateLimiting.shared.maxTokens");
    assert_eq!(of("TG101")["level"], "warning");
    assert_eq!(of("TG104")["suppressions"], serde_json::json!([{"kind": "external", "justification": "meant"}]));
    assert_eq!(of("unreadable")["level"], "error");
    let missing = check(&folder, &["--output", "sarif", "no such.yaml"]).json();
    let at = &missing["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(*at, serde_json::json!({"artifactLocation": {"uri": "no%20such.yaml"}}), "code scanning refuses results without");
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
}

#[test]
fn junit_has_a_case_for_each_object() {
    let folder = mixed();
    let ran = check(&folder, &["--output", "junit", "."]);
    let report = Report::deserialize_from_str(&ran.stdout).expect("JUnit XML");
    assert_eq!((report.tests, report.failures, report.errors), (4, 1, 1));
    let suites: Vec<_> = report.test_suites.iter().map(|suite| suite.name.as_str()).collect();
    assert_eq!(suites, ["a good one.yaml", "bad.yaml", "broken.yaml", "slow.yaml"]);
    let case = &report.test_suites[1].test_cases[0];
    assert_eq!((case.classname.as_ref().map(|name| name.as_str()), case.name.as_str()), (Some("MCPServer"), "demo/fetch"));
    let TestCaseStatus::NonSuccess { message, description, ty, .. } = &case.status else { panic!("{case:?}") };
    assert_eq!(ty.as_ref().map(|ty| ty.as_str()), Some("TG006"));
    assert!(
        message.as_ref().is_some_and(|said| said.as_str().starts_with("spec.rateLimiting.shared.maxTokens: is 0: write")),
        "{message:?}"
    );
    let description = description.as_ref().expect("the rest").as_str();
    assert!(description.contains("bad.yaml:10:18: error TG006") && description.contains("warning TG101"), "{description}");
}

#[test]
fn github_gets_a_line_for_each_annotation() {
    let folder = mixed();
    let ran = check(&folder, &["--output", "github", "."]);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert_eq!(
        lines[1],
        "::error file=bad.yaml,line=10,endLine=10,col=18,endColumn=19,title=TG006::\
         MCPServer demo/fetch: spec.rateLimiting.shared.maxTokens: is 0: write a whole number from 1 to 2147483647"
    );
    assert!(lines[0].starts_with("::warning file=bad.yaml,line=9,") && lines[2].starts_with("::error file=broken.yaml,line=2,"));
}

#[test]
fn pipes_get_no_colours() {
    let folder = mixed();
    let ran = check(&folder, &["."]);
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("3 checked: 1 error, 1 warning, 1 unreadable, 1 ignored\n"), "{}", ran.stdout);
}

/// `script` gives a command a terminal.
#[test]
fn terminals_get_colours_unless_told_otherwise() {
    let folder = mixed();
    let on_terminal = |no_color: Option<&str>| {
        let mut command = crate::support::serve::command(&folder);
        let tollgate = command.get_program().to_owned();
        command = Command::new("script");
        command.current_dir(folder.path()).env_remove("NO_COLOR").args([
            "-qec",
            &format!("{} check bad.yaml", tollgate.display()),
            "/dev/null",
        ]);
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        String::from_utf8(command.output().expect("script is there").stdout).expect("text")
    };
    assert!(on_terminal(None).contains("\u{1b}["));
    assert!(on_terminal(Some("")).contains("\u{1b}["), "empty is not set");
    let plain = on_terminal(Some("1"));
    assert!(plain.contains("error[TG006]") && !plain.contains('\u{1b}'), "{plain}");
}

#[test]
fn a_reader_that_leaves_early_is_no_fault() {
    let folder = folder(&[("bad.yaml", &vec![bad(); 500].join("---\n"))]);
    let mut command = crate::support::serve::command(&folder);
    let tollgate = command.get_program().to_owned();
    command = Command::new("sh");
    let line = format!("{{ {} check bad.yaml; echo $? >&2; }} | head -n 1", tollgate.display());
    let output = command.current_dir(folder.path()).args(["-c", &line]).output().expect("sh is there");
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim(), "1", "{output:?}");
}
