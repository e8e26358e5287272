//! `.tollgate.toml`

use super::{GOOD, bad, check, folder};

const SLOW: &str = "\
apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPServer
metadata: {name: nightly, namespace: batch}
spec:
  sessionStorage: {provider: redis, address: 'redis:6379'}
  rateLimiting:
    global: {maxTokens: 2, refillPeriod: 24h}
    tools:
    - name: a
      global: {maxTokens: 1, refillPeriod: 24h}
";

fn ignore(fields: &str) -> String {
    format!("[[ignore]]\nrule = \"TG104\"\nreason = \"once a day is meant\"\n{fields}")
}

#[test]
fn what_is_ignored_is_counted_and_not_shown() {
    for fields in
        ["", "file = \"jobs/*.yaml\"\n", "object = \"nightly\"\n", "object = \"batch/nightly\"\n", "path = \"spec.rateLimiting\"\n"]
    {
        let folder = folder(&[(".tollgate.toml", &ignore(fields)), ("jobs/slow.yaml", SLOW)]);
        let ran = check(&folder, &["--strict", "."]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "1 checked: 2 ignored\n"), "{fields}");
        let json = check(&folder, &["--output", "json", "."]).json();
        assert_eq!(json["findings"][0]["ignored"], "once a day is meant", "machines are told, with the reason");
    }
}

#[test]
fn what_an_entry_does_not_speak_of_stays() {
    for (fields, left) in [
        ("file = \"other/*.yaml\"\n", 2),
        ("object = \"weekly\"\n", 2),
        ("path = \"spec.rateLimiting.tools\"\n", 1),
        ("path = \"spec.rateLimiting.global\"\n", 1),
        ("path = \"spec.rate\"\n", 2),
        ("file = \"*.yaml\"\n", 2),
    ] {
        let folder = folder(&[(".tollgate.toml", &ignore(fields)), ("jobs/slow.yaml", SLOW)]);
        let ran = check(&folder, &["--output", "json", "jobs/slow.yaml"]);
        assert_eq!(ran.json()["summary"]["warnings"], left, "{fields}");
    }
}

#[test]
fn an_entry_that_ignores_nothing_is_told_where_a_folder_is_judged() {
    let folder = folder(&[(".tollgate.toml", &ignore("")), ("good.yaml", GOOD)]);
    let ran = check(&folder, &["."]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("warning[unused-ignore]: nothing here breaks TG104\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains(".tollgate.toml:1:1") && ran.stdout.contains("remove this entry"), "{}", ran.stdout);
    assert_eq!(check(&folder, &["--strict", "."]).code, 1);
    assert_eq!(check(&folder, &["--strict", "good.yaml"]).code, 0, "one file cannot show it");
}

#[test]
fn the_nearest_file_above_counts_up_to_the_repository() {
    let folder = folder(&[(".tollgate.toml", &ignore("file = \"sub/jobs/slow.yaml\"\n")), ("sub/jobs/slow.yaml", SLOW)]);
    let run = |at: &str| {
        let mut command = crate::support::serve::command(&folder);
        super::Ran::of(command.current_dir(folder.path().join(at)).args(["check", "--strict", "."]).output().expect("it starts"))
    };
    assert_eq!(run("sub/jobs").code, 0);
    std::fs::create_dir(folder.path().join("sub/.git")).expect("a folder");
    assert_eq!(run("sub/jobs").code, 1, "another repository's file is not ours");
}

#[test]
fn folders_may_be_left_out() {
    let config = "[files]\nexclude = [\"chart/templates\", \"**/*.gen.yaml\"]\n";
    let folder = folder(&[
        (".tollgate.toml", config),
        ("chart/templates/a.yaml", "kind: MCPServer\nspec: {{ .Values }}\n"),
        ("x/y.gen.yaml", &bad()),
        ("good.yaml", GOOD),
    ]);
    assert_eq!(check(&folder, &["."]).stdout, "1 checked: no problems\n");
    assert_eq!(check(&folder, &["x/y.gen.yaml"]).code, 1, "what is named is judged");
    let ran = check(&folder, &["--force-exclude", "x/y.gen.yaml", "chart/templates/a.yaml", "./good.yaml"]);
    assert_eq!(ran.stdout, "1 checked: no problems\n", "unless told otherwise");
    let ran = super::tollgate(&folder, &["migrate", "--force-exclude", "chart/templates/a.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn folders_are_excluded_however_they_are_written() {
    let folder = folder(&[
        (".tollgate.toml", "[files]\nexclude = [\"./sub\", \"more/\", \"gone\"]\n"),
        ("sub/a.yaml", &bad()),
        ("more/b.yaml", &bad()),
        ("good.yaml", GOOD),
    ]);
    let ran = check(&folder, &["."]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    assert!(ran.stdout.contains("warning[unused-ignore]: \"gone\" excludes nothing here\n --> .tollgate.toml:2:30\n"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("1 checked: 1 warning\n"), "{}", ran.stdout);
}

#[test]
fn an_entry_for_a_file_that_is_gone_is_told_where_everything_is_judged() {
    let folder = folder(&[(".tollgate.toml", &ignore("file = \"gone.yaml\"\n")), ("sub/good.yaml", GOOD)]);
    assert!(check(&folder, &["."]).stdout.contains("warning[unused-ignore]: nothing here breaks TG104\n"));
    assert_eq!(check(&folder, &["sub"]).stdout, "1 checked: no problems\n", "it may be about another folder");
}

#[test]
fn a_file_that_cannot_be_used_says_why() {
    for (config, says) in [
        ("[[ignore]]\nrule = \"TG104\"\n", "missing field `reason`"),
        ("[[ignore]]\nrule = \"TG104\"\nreason = \" \"\n", "line 1: reason is empty: write why TG104 is ignored"),
        ("[[ignore]]\nrule = \"TG999\"\nreason = \"x\"\n", "unknown rule \"TG999\": docs/rules.md has the ids"),
        ("[[ignore]]\nrule = \"tg104\"\nreason = \"x\"\n", "line 1: unknown rule \"tg104\": did you mean TG104?"),
        ("[[ignore]]\nrule = \"unreadable\"\nreason = \"x\"\n", "line 1: unreadable is not about an object, so that it cannot be ignored"),
        ("[[ignores]]\nrule = \"TG104\"\n", "unknown field `ignores`"),
        ("[[ignore]]\nrule = \"TG104\"\nreason = \"x\"\nfile = \"[\"\n", "glob"),
    ] {
        let folder = folder(&[(".tollgate.toml", config), ("good.yaml", GOOD)]);
        let ran = check(&folder, &["good.yaml"]);
        assert_eq!(ran.code, 2, "{config}");
        assert!(ran.stderr.contains(says) && ran.stderr.contains(".tollgate.toml"), "{config}: {}", ran.stderr);
    }
    let folder = folder(&[("good.yaml", GOOD)]);
    assert!(check(&folder, &["--config", "gone.toml", "good.yaml"]).stderr.contains("cannot read gone.toml"));
}
