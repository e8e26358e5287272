//! The texts that people have: lists, streams, Windows' line ends, and broken ones.

use std::{fs, io::Write, process::Stdio};

use super::{GOOD, bad, check, check_stdin, folder};
use crate::support::serve::command;

#[test]
fn a_folder_is_walked_and_what_is_no_manifest_is_left_alone() {
    let config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {kind: MCPServer}\n";
    let folder = folder(&[
        ("b.yaml", &bad()),
        ("deep/er/a.yml", GOOD),
        ("deep/a.json", r#"{"apiVersion": "v1", "kind": "Secret"}"#),
        ("config.yaml", config_map),
        (".git/x.yaml", &bad()),
        ("notes.txt", &bad()),
        ("broken-but-not-ours.yaml", "a: [\n"),
    ]);
    let ran = check(&folder, &["--output", "json", "."]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.findings(), ["TG006 spec.rateLimiting.global.maxTokens 10:18"]);
    assert_eq!(ran.json()["findings"][0]["source"], "b.yaml");
    let summary = &ran.json()["summary"];
    assert_eq!((&summary["judged"], &summary["skipped"], &summary["errors"]), (&2.into(), &3.into(), &1.into()));
}

#[test]
fn documents_of_a_stream_are_judged_one_by_one_even_beside_a_broken_one() {
    let broken = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPServer\nspec:\n\trateLimiting: {}\n";
    let ran = check_stdin(&format!("{GOOD}---\n{broken}---\n{}...\n", bad()), &["--output", "json"]);
    assert_eq!(ran.code, 2, "one of them could not be judged");
    assert_eq!(ran.findings(), ["unreadable - 16:2", "TG006 spec.rateLimiting.global.maxTokens 27:18"]);
    assert_eq!(ran.json()["findings"][0]["message"], "a tab in the indentation: YAML is indented with spaces");
    assert_eq!(ran.json()["findings"][0]["source"], "<stdin>");
}

#[test]
fn lists_as_kubectl_prints_them() {
    let indented: String = bad().lines().map(|line| format!("  {line}\n")).collect();
    let item = format!("-{}", indented.get(1..).expect("ASCII"));
    let list = format!("apiVersion: v1\nitems:\n{item}- apiVersion: v1\n  kind: Secret\n{item}kind: List\n");
    let ran = check_stdin(&list, &["--output", "json"]);
    let found = "TG006 spec.rateLimiting.global.maxTokens";
    assert_eq!(ran.findings(), [format!("{found} 12:20"), format!("{found} 25:20")]);
    assert_eq!((ran.json()["summary"]["judged"].clone(), ran.json()["summary"]["skipped"].clone()), (2.into(), 1.into()));

    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
	{"kind": "MCPServer", "apiVersion": "toolhive.stacklok.dev/v1alpha1", "metadata": {"name": "caf\u00e9 \ud83d\ude00"},
	 "spec": {"rateLimiting": {"global": {"maxTokens": 1e2, "refillPeriod": "1\u0073"}}}}
]}"#;
    let ran = check_stdin(json, &["--output", "json"]);
    assert_eq!(ran.findings(), ["TG001 spec.sessionStorage 3:3"]);
    assert_eq!(ran.json()["findings"][0]["object"]["name"], "café 😀");
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark() {
    let ran = check_stdin(&format!("\u{feff}{}", bad().replace('\n', "\r\n")), &["--output", "json"]);
    assert_eq!(ran.findings(), ["TG006 spec.rateLimiting.global.maxTokens 10:18"]);
    let ran = check_stdin(&bad().replace('\n', "\r\n"), &[]);
    assert!(ran.stdout.contains("10 |       maxTokens: 0\n") && !ran.stdout.contains('\r'), "{}", ran.stdout);
}

#[test]
fn a_fault_behind_an_anchor_is_shown_where_it_is_written_and_where_it_is_used() {
    let text = bad().replace("    global:\n", "    global: &limit\n")
        + "    tools:\n    - name: a\n      <<: {perUser: 5}\n      global: *limit\n";
    let ran = check_stdin(&text, &[]);
    let shown = ran.stdout.split("\n\n").find(|shown| shown.contains("tools[0].global.maxTokens")).expect("a finding");
    assert!(shown.contains("10 |       maxTokens: 0") && shown.contains("15 |       global: *limit"), "{shown}");
    assert!(shown.contains("used here"), "{shown}");
    let merged = ran.stdout.split("\n\n").find(|shown| shown.contains("tools[0].perUser: is a number")).expect("a finding");
    assert!(merged.contains("14 |       <<: {perUser: 5}"), "{merged}");
}

#[test]
fn broken_texts_say_what_is_wrong_and_where() {
    let head = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPServer\n";
    let cases: [(&str, &str, &str); 8] = [
        ("spec: {a: [1, 2}\n", "3:11", "mismatched bracket '[' closed by '}'"),
        ("spec:\n   a: 1\n  b: 2\n", "5:3", "key"),
        ("spec: {}\nspec: {}\n", "4:1", "the key \"spec\" stands twice in this map: remove one of the two"),
        ("spec: *nowhere\n", "3:7", "this alias has no anchor above it in its document"),
        ("spec: &a\n  b: *a\n", "4:6", "this alias stands inside of what it stands for"),
        ("spec: {<<: 5}\n", "3:12", "a merge (<<) takes a map, or a list of maps"),
        ("spec:\n  ? [a]\n  : 1\n", "4:5", "a key must be text"),
        ("spec: {{ .Values.spec | toYaml }}\n", "3:7", "this is a template, not YAML: judge what it gives"),
    ];
    for (text, place, says) in cases {
        let ran = check_stdin(&format!("{head}{text}"), &["--output", "json"]);
        assert_eq!(ran.code, 2, "{text}: {ran:?}");
        let found = ran.json()["findings"][0].clone();
        let at = format!("{}:{}", found["line"], found["column"]);
        assert!(at.starts_with(place), "{text}: {at}, not {place}: {found}");
        assert!(found["message"].as_str().is_some_and(|message| message.contains(says)), "{text}: {found}");
    }
}

#[test]
fn aliases_cannot_blow_a_document_up() {
    let mut text = String::from("kind: MCPServer\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 10].join(", "));
    }
    let ran = check_stdin(&text, &["--output", "json"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.contains("aliases make this more than 1000000 values"), "{}", ran.stdout);
}

#[test]
fn what_cannot_be_opened_or_is_no_text_is_told() {
    let folder = folder(&[("good.yaml", GOOD)]);
    fs::write(folder.path().join("latin1.yaml"), b"kind: MCPServer\nname: caf\xe9\n").expect("a file");
    let ran = check(&folder, &["--output", "json", "gone.yaml", "latin1.yaml", "good.yaml"]);
    assert_eq!(ran.code, 2);
    assert_eq!(ran.json()["findings"][0]["message"], "there is no such file");
    assert_eq!(ran.json()["findings"][0]["source"], "gone.yaml");
    assert_eq!(ran.json()["findings"][1]["message"], "this is no UTF-8 text");
    assert_eq!((&ran.json()["findings"][1]["line"], &ran.json()["findings"][1]["column"]), (&2.into(), &10.into()));
    assert_eq!(ran.json()["summary"]["judged"], 1, "the rest is judged all the same");
}

#[test]
fn warnings_are_faults_when_told_so() {
    let text = GOOD.replace("global:", "shared:");
    assert_eq!(check_stdin(&text, &[]).code, 0);
    let ran = check_stdin(&text, &["--strict"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with("error[TG101]: spec.rateLimiting.shared: deprecated"), "{}", ran.stdout);
}

#[test]
fn kinds_of_that_name_in_other_groups_are_not_ours() {
    let ran = check_stdin(&bad().replace("toolhive.stacklok.dev/v1beta1", "kagent.dev/v1alpha1"), &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "0 judged, 1 of other kinds: no fault\n"));
}

/// A stream is judged while it comes in: the memory is that of a document, not of the stream.
#[test]
fn a_long_stream_needs_little_memory() {
    let folder = folder(&[]);
    let mut child = command(&folder).args(["check", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let document = format!("---\n{GOOD}# {}\n", "padding ".repeat(500));
    let mut stdin = child.stdin.take().expect("piped");
    for _ in 0..10_000 {
        stdin.write_all(document.as_bytes()).expect("it reads");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it still reads");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak").trim().trim_end_matches(" kB");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "10000 judged: no fault\n");
    assert!(peak.parse::<u32>().expect("a number") < 40_000, "{peak} kB at the peak for {} kB in all", document.len() * 10);
}
