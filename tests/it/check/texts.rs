//! The texts that people have: lists, streams, Windows' line ends, and broken ones.

use std::{fs, io::Write, os::unix::fs::symlink, process::Stdio};

use serde_json::Value;

use super::{GOOD, bad, check, check_stdin, feed, folder};
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
        ("chart/templates/service.yaml", "kind: {{ .Values.kind }}\n"),
    ]);
    let ran = check(&folder, &["--output", "json", "."]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(ran.findings(), ["TG006 spec.rateLimiting.global.maxTokens 10:18"]);
    assert_eq!(ran.json()["findings"][0]["source"], "b.yaml");
    let summary = &ran.json()["summary"];
    assert_eq!((&summary["judged"], &summary["skipped"], &summary["errors"]), (&2.into(), &2.into(), &1.into()));
    assert_eq!(summary["templates"], 1);
    let ran = check(&folder, &["."]);
    assert!(ran.stdout.ends_with("2 checked, 2 of other kinds, 1 template not checked: 1 error\n"), "{}", ran.stdout);
}

#[test]
fn a_broken_text_that_says_nothing_of_ours_is_told_and_no_fault() {
    let folder = folder(&[("good.yaml", GOOD), ("typo.yaml", "a: [\nb: \"{{ quoted }}\"\n"), ("noise.yml", "x")]);
    fs::write(folder.path().join("noise.yml"), [0x9d, 0, 0x80, 0xc3]).expect("a file");
    let ran = check(&folder, &["--output", "json", "."]);
    let found = ran.json()["findings"].clone();
    let reported: Vec<_> = [0, 1].map(|at| [&found[at]["source"], &found[at]["severity"], &found[at]["line"]].map(Value::to_string)).into();
    assert_eq!(reported, [[r#""noise.yml""#, r#""warning""#, "1"], [r#""typo.yaml""#, r#""warning""#, "1"]], "{found}");
    let says = |at: usize| found[at]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(says(0), "a control character: the file does not mention MCPServer, so this is only a warning");
    assert!(says(1).ends_with(": the file does not mention MCPServer, so this is only a warning"), "{found}");
    assert_eq!((ran.code, &ran.json()["summary"]["skipped"]), (0, &2.into()));
    assert_eq!(check(&folder, &["--strict", "."]).code, 1);
}

#[test]
fn texts_of_windows_shells_are_told_what_they_are() {
    let units = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let (folder, shared) = (folder(&[]), GOOD.replace("global:", "shared:"));
    let two = format!("{}---\n{shared}", bad());
    fs::write(folder.path().join("marked.yaml"), [vec![0xff, 0xfe], units(&two)].concat()).expect("a file");
    fs::write(folder.path().join("plain.yaml"), units(GOOD)).expect("a file");
    let ran = check(&folder, &["--output", "json", "marked.yaml"]);
    assert_eq!(
        ran.findings(),
        ["TG006 spec.rateLimiting.global.maxTokens 10:18", "TG101 spec.rateLimiting.shared 21:5"],
        "as kubectl reads it"
    );
    let ran = check(&folder, &["plain.yaml"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stdout.contains("this is UTF-16 text without a byte order mark\n --> plain.yaml:1:1\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("^ save it as UTF-8") && ran.stdout.contains("0 checked: 1 unreadable"), "{}", ran.stdout);
    let ran = super::tollgate(&folder, &["migrate", "marked.yaml"]);
    assert!(ran.code == 2 && ran.stderr.contains("this file is not UTF-8, so that it cannot be changed"), "{ran:?}");
}

#[test]
fn an_object_that_does_not_say_whose_it_is_is_told() {
    let text = GOOD.replace("apiVersion: toolhive.stacklok.dev/v1beta1\n", "");
    let ran = check_stdin(&text, &[]);
    assert_eq!(ran.code, 0);
    assert!(
        ran.stdout.starts_with("warning[no-version]: this MCPServer has no apiVersion, and is not judged\n --> <stdin>:1:7\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("^^^^^^^^^ write toolhive.stacklok.dev/v1beta1"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("0 checked, 1 of other kinds: 1 warning\n"), "{}", ran.stdout);
}

#[test]
fn links_that_lead_nowhere_or_round_and_round() {
    let folder = folder(&[("real/good.yaml", GOOD)]);
    for (to, from) in [("gone.yaml", "dangling.yaml"), ("round.yaml", "round.yaml"), ("..", "real/up"), ("real/good.yaml", "link.yaml")] {
        symlink(to, folder.path().join(from)).expect("a link");
    }
    let ran = check(&folder, &["--output", "json", "."]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let found = ran.json()["findings"].clone();
    let sources: Vec<_> = [0, 1].map(|at| found[at]["source"].clone()).into();
    assert_eq!(sources, ["dangling.yaml", "round.yaml"], "{found}");
    assert!(found[0]["message"].as_str().is_some_and(|message| message.starts_with("leads nowhere: ")), "{found}");
    assert_eq!(ran.json()["summary"]["judged"], 2, "the file and a link to it; a link back leads nowhere new");
}

#[test]
fn folders_behind_links_are_walked() {
    let (elsewhere, folder) = (folder(&[("deep/bad.yaml", &bad())]), folder(&[("good.yaml", GOOD)]));
    symlink(elsewhere.path(), folder.path().join("linked")).expect("a link");
    let ran = check(&folder, &["--output", "json", "."]);
    assert_eq!(ran.findings(), ["TG006 spec.rateLimiting.global.maxTokens 10:18"], "{ran:?}");
    assert_eq!(ran.json()["findings"][0]["source"], "linked/deep/bad.yaml");
}

#[test]
fn nothing_to_check_is_not_no_fault() {
    for nothing in ["", "\n---\n# a chart with everything switched off\n--- # no\n"] {
        for command_line in [&["check", "-"][..], &["audit", "-"], &["explain", "-"]] {
            let ran = feed(command(&folder(&[])).args(command_line), nothing);
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(ran.code == 2 && said.contains("stdin is empty: did the command that writes to it fail?"), "{command_line:?}: {ran:?}");
        }
    }
    assert_eq!(check_stdin("kind: List\nitems: []\n", &[]).stdout, "0 checked: nothing to check\n");
    let folder = folder(&[("values.yaml", "a: 1\n"), ("empty/notes.txt", "")]);
    assert_eq!(
        (check(&folder, &["empty"]).code, check(&folder, &["."]).stdout.as_str()),
        (0, "0 checked, 1 of other kinds: nothing to check\n")
    );
    let ran = check(&folder, &["--strict", "--output", "json", "."]);
    assert_eq!((ran.code, ran.findings()), (2, vec!["nothing-found - null:null".to_owned()]));
    assert_eq!(check(&folder, &["--strict", "values.yaml"]).code, 0, "a commit hook names files of all kinds");
}

/// A line of any length costs memory in proportion to the text, not for each finding in it.
#[test]
fn a_long_line_with_many_findings_needs_little_memory() {
    let object = |nth: usize| {
        format!(
            "{{\"apiVersion\":\"toolhive.stacklok.dev/v1beta1\",\"kind\":\"MCPServer\",\"metadata\":{{\"name\":\"s{nth}\"}},\"spec\":{{\"sessionStorage\":{{\"provider\":\"redis\",\"address\":\"r:1\"}},\"rateLimiting\":{{\"global\":{{\"maxTokens\":0,\"refillPeriod\":\"1m\"}}}}}}}}"
        )
    };
    let objects: Vec<_> = (0..3_000).map(object).collect();
    let list = format!("{{\"kind\":\"List\",\"items\":[{}]}}", objects.join(","));
    let tools: Vec<_> =
        (0..3_000).map(|nth| format!("{{\"name\":\"t{nth}\",\"global\":{{\"maxTokens\":0,\"refillPeriod\":\"1m\"}}}}")).collect();
    let one = object(0).replace("\"global\":", &format!("\"tools\":[{}],\"global\":", tools.join(",")));
    let folder = folder(&[("list.json", &list), ("one.json", &one)]);
    for (file, errors) in [("list.json", 3_000), ("one.json", 3_001)] {
        for command in ["check", "audit"] {
            let script = format!("ulimit -v 400000; exec {} {command} --output json {file}", env!("CARGO_BIN_EXE_tollgate"));
            let output = std::process::Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().expect("it starts");
            let ran = super::Ran::of(output);
            assert_eq!((ran.code, &ran.json()["summary"]["errors"]), (1, &errors.into()), "{command} {file}: {}", ran.stderr);
        }
    }
}

#[test]
fn names_cannot_tell_a_terminal_what_to_do() {
    let text = bad().replace("name: fetch", "name: \"\\e[31mfetch\\a\"");
    for (output, shown) in [("human", "\\u{1b}[31mfetch\\u{7}"), ("github", "\\u{1b}[31mfetch\\u{7}"), ("junit", "name=\"demo/fetch\"")] {
        let ran = check_stdin(&text, &["--output", output]);
        assert!(ran.stdout.contains(shown) && !ran.stdout.contains(['\x1b', '\x07']), "{output}: {}", ran.stdout);
    }
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
    fs::write(folder.path().join("latin1.yaml"), b"kind: MCPServer\nname: caf\xe9\x01\n").expect("a file");
    let ran = check(&folder, &["--output", "json", "gone.yaml", "latin1.yaml", "good.yaml"]);
    assert_eq!(ran.code, 2);
    assert_eq!(ran.json()["findings"][0]["message"], "the file does not exist");
    assert_eq!(ran.json()["findings"][0]["source"], "gone.yaml");
    assert_eq!(ran.json()["findings"][1]["message"], "a control character: this is not YAML");
    assert_eq!((&ran.json()["findings"][1]["line"], &ran.json()["findings"][1]["column"]), (&2.into(), &11.into()));
    assert_eq!(ran.json()["summary"]["judged"], 1, "the rest is judged all the same");
    let ran = check(&folder, &["latin1.yaml"]);
    assert!(ran.stdout.contains("2 | name: caf\u{fffd}"), "{ran:?}");
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
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "0 checked, 1 of other kinds: nothing to check\n"));
}

#[test]
fn an_api_group_or_kind_that_was_meant_to_be_toolhives_is_a_fault() {
    let with = |version: &str, kind: &str| {
        GOOD.replace("toolhive.stacklok.dev/v1beta1", version).replace("kind: MCPServer", &format!("kind: {kind}"))
    };
    for (version, kind, place, says) in [
        ("toolhive.stacklok.com/v1beta1", "MCPServer", "apiVersion 1:13", "did you mean toolhive.stacklok.dev/v1beta1?"),
        ("toolhive.stacklok.dev", "MCPServer", "apiVersion 1:13", "write toolhive.stacklok.dev/v1beta1"),
        ("v1alpha1", "MCPServer", "apiVersion 1:13", "write toolhive.stacklok.dev/v1alpha1"),
        ("ToolHive.stacklok.dev/v1alpha1", "VirtualMCPServer", "apiVersion 1:13", "did you mean toolhive.stacklok.dev/v1alpha1?"),
        ("toolhive.stacklok.dev/v1beta1", "McpServer", "kind 2:7", "did you mean MCPServer?"),
    ] {
        let ran = check_stdin(&with(version, kind), &["--output", "json"]);
        assert_eq!((ran.code, ran.findings()), (1, vec![format!("TG012 {place}")]), "{version} {kind}");
        assert!(ran.json()["findings"][0]["message"].as_str().is_some_and(|message| message.ends_with(says)), "{}", ran.stdout);
    }
    for (version, kind) in
        [("kagent.dev/v1alpha1", "MCPServer"), ("mcp.example.com/v1", "MCPServer"), ("toolhive.stacklok.dev/v1beta1", "MCPGroup")]
    {
        assert_eq!(check_stdin(&with(version, kind), &[]).code, 0, "{version} {kind} is someone else's, or another kind");
    }
}

#[test]
fn what_is_no_whole_object_is_counted_and_not_judged() {
    let patch = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPServer\nmetadata: {name: fetch}\nspec: {rateLimiting: {global: {maxTokens: 5}}}\n";
    let kustomization = "kind: Kustomization\npatches:\n- path: ../patches/more.yaml\npatchesStrategicMerge: [own.yaml]\n";
    let directive = patch.replace("global: {maxTokens: 5}", "$patch: replace, perUser: {}");
    let crd = "{{- if .Values.crds }}\nkind: CustomResourceDefinition\nspec: {names: {kind: MCPServer}}\n{{- end }}\n";
    let folder = folder(&[
        ("base/good.yaml", GOOD),
        ("overlay/kustomization.yaml", kustomization),
        ("overlay/own.yaml", patch),
        ("patches/more.yaml", patch),
        ("directive.yaml", &directive),
        ("chart/templates/crd.yaml", crd),
    ]);
    let ran = check(&folder, &["."]);
    let says = "1 checked, 1 of other kinds, 1 template not checked, 3 patches not checked (check what kustomize renders): no problems\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (0, says));
    assert_eq!(check(&folder, &["overlay/own.yaml"]).code, 0, "by the kustomization beside it");
    fs::write(folder.path().join("chart/templates/server.yaml"), crd.replace("CustomResourceDefinition", "MCPServer")).expect("a file");
    assert_eq!(check(&folder, &["chart"]).code, 2, "a template of an MCPServer has limits that nobody saw");
    let ran = super::tollgate(&folder, &["migrate", "base", "chart/templates/crd.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn placeholders_are_not_judged_and_everything_else_is() {
    let flux = bad()
        .replace("maxTokens: 0", "maxTokens: ${TOKENS}")
        .replace("refillPeriod: 1m0s", "refillPeriod: ENC[AES256_GCM,data:x,type:str]");
    let ran = check_stdin(&flux, &[]);
    let says = "1 checked, 1 with placeholders that could not be checked (check what is applied): no problems\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (0, says));
    let ran = check_stdin(&flux.replace("    global:", "    perUser:"), &["--output", "json"]);
    assert_eq!(ran.findings(), ["TG002 spec.rateLimiting.perUser 9:5"], "that is wrong with any number");
    let image = bad().replace("spec:\n", "spec:\n  image: ${IMAGE}\n");
    assert_eq!(check_stdin(&image, &["--output", "json"]).findings(), ["TG006 spec.rateLimiting.global.maxTokens 11:18"]);
}

#[test]
fn a_named_pipe_is_refused_and_that_of_a_shell_is_read() {
    let folder = folder(&[("good.yaml", GOOD)]);
    let shell = |line: &str| {
        let line = line.replace("tollgate", env!("CARGO_BIN_EXE_tollgate"));
        super::Ran::of(std::process::Command::new("bash").args(["-c", &line]).current_dir(folder.path()).output().expect("it starts"))
    };
    let ran = shell("mkfifo pipe && timeout 20 tollgate check pipe");
    assert!(ran.code == 2 && ran.stdout.contains("is a named pipe, which may never end"), "{ran:?}");
    assert_eq!(shell("tollgate check <(cat good.yaml)").stdout, "1 checked: no problems\n");
}

#[test]
fn a_file_that_is_not_there_is_named_and_cannot_tell_a_terminal_what_to_do() {
    let ran = check(&folder(&[]), &["--output", "github", "\x1b[31mgone.yaml"]);
    assert_eq!(ran.stdout, "::error file=\\u{1b}[31mgone.yaml,title=unreadable::the file does not exist\n");
}

/// What a pod's environment says is for what serves in it.
#[test]
fn variables_do_not_change_a_check() {
    let text = GOOD.replace("global:", "shared:");
    for (variable, value) in [("TOLLGATE_STRICT", "true"), ("TOLLGATE_OUTPUT", "sarif"), ("TOLLGATE_CONFIG", "gone.toml")] {
        let ran = feed(command(&folder(&[])).args(["check", "-"]).env(variable, value), &text);
        assert_eq!((ran.code, ran.stdout), (0, check_stdin(&text, &[]).stdout), "{variable}");
    }
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
    assert_eq!(String::from_utf8_lossy(&output.stdout), "10000 checked: no problems\n");
    assert!(peak.parse::<u32>().expect("a number") < 40_000, "{peak} kB at the peak for {} kB in all", document.len() * 10);
}
