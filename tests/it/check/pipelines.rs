//! The pre-commit hooks and the GitHub action, as far as they can be run without pre-commit and GitHub: their commands are.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{GOOD, Ran, bad, folder};
use crate::support::serve::{TOLLGATE, clean};

fn shipped(file: &str) -> Value {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("it is shipped");
    serde_saphyr::from_str(&text).expect("YAML")
}

/// A shell with the binary in its path.
fn shell(folder: &TempDir, line: &str) -> Command {
    let mut shell = clean("bash", folder);
    let bin = Path::new(TOLLGATE).parent().expect("in a folder").display().to_string();
    // As GitHub calls it.
    shell.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", line]).current_dir(folder.path());
    shell.env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap_or_default()));
    shell
}

fn ran(mut shell: Command) -> Ran {
    Ran::of(shell.output().expect("bash is there"))
}

#[test]
fn hooks_run_on_the_files_that_pre_commit_names() {
    let shared = GOOD.replace("global:", "shared:");
    let hooks = shipped(".pre-commit-hooks.yaml");
    let mut ids = Vec::new();
    for hook in hooks.as_array().expect("a list") {
        let text = |key: &str| hook[key].as_str().unwrap_or_else(|| panic!("{hook} lacks {key}")).to_owned();
        assert_eq!(text("language"), "rust", "built from this repository");
        assert!(!text("name").is_empty() && !text("description").is_empty());
        assert_eq!(hook["types_or"], serde_json::json!(["yaml", "json"]));
        let folder = folder(&[("good.yaml", GOOD), ("shared.yaml", &shared), ("bad one.yaml", &bad()), ("other.json", "{\"a\": 1}")]);
        let run = |files: &str| ran(shell(&folder, &format!("{} {files}", text("entry"))));
        assert_eq!(run("good.yaml shared.yaml other.json").code, 0);
        let says_global = fs::read_to_string(folder.path().join("shared.yaml")).expect("a file") == GOOD;
        match text("id").as_str() {
            "tollgate-check" => assert!(run("good.yaml 'bad one.yaml'").code == 1 && !says_global),
            "tollgate-migrate" => assert!(says_global, "pre-commit fails the commit when files change"),
            other => panic!("{other} is not tested"),
        }
        ids.push(text("id"));
    }
    assert_eq!(ids, ["tollgate-check", "tollgate-migrate"]);
}

/// Runs the steps of the action with its inputs as GitHub fills them in.
fn action(folder: &TempDir, inputs: &[(&str, &str)]) -> Ran {
    let action = shipped(".github/actions/check/action.yml");
    assert_eq!(action["runs"]["using"], "composite");
    let declared = action["inputs"].as_object().expect("a map");
    assert!(inputs.iter().all(|(name, _)| declared.contains_key(*name)));
    let value = |name: &str| {
        let given = inputs.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned());
        given.unwrap_or_else(|| declared[name]["default"].as_str().unwrap_or_else(|| panic!("{name} has no default")).to_owned())
    };
    let mut last = None;
    for step in action["runs"]["steps"].as_array().expect("a list") {
        assert_eq!(step["shell"], "bash");
        let script = step["run"].as_str().expect("a script");
        assert!(!script.contains("${{"), "inputs come by the environment, where they are no code");
        let mut shell = shell(folder, script);
        for (name, filled) in step["env"].as_object().into_iter().flatten() {
            let input = filled.as_str().and_then(|text| text.strip_prefix("${{ inputs.")?.strip_suffix(" }}")).expect("an input");
            shell.env(name, value(input));
        }
        last = Some(ran(shell));
        if last.as_ref().is_some_and(|last| last.code != 0) {
            break;
        }
    }
    last.expect("it has steps")
}

#[test]
fn the_action_annotates_and_fails_as_check_does() {
    let warned = GOOD.replace("global:", "shared:");
    let folder = folder(&[("good.yaml", GOOD), ("a b/bad.yaml", &bad()), ("warned.yaml", &warned)]);
    let ran = action(&folder, &[("sarif", "out.sarif")]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("::error file=a b/bad.yaml,line=10,"), "{}", ran.stdout);
    let sarif = fs::read_to_string(folder.path().join("out.sarif")).expect("written");
    let sarif: Value = serde_json::from_str(&sarif).expect("JSON");
    assert_eq!(sarif["runs"][0]["results"].as_array().map(Vec::len), Some(2));

    assert_eq!(action(&folder, &[("paths", "good.yaml\n\nwarned.yaml\n")]).code, 0);
    assert_eq!(action(&folder, &[("paths", "warned.yaml"), ("strict", "true")]).code, 1);
    assert_eq!(action(&folder, &[("paths", "a b")]).code, 1);
    let ran = action(&folder, &[("paths", "good.yaml"), ("config", "gone.toml")]);
    assert!(ran.code == 2 && ran.stderr.contains("gone.toml"), "{ran:?}");
    let ran = action(&folder, &[("paths", "--help")]);
    assert_eq!(ran.code, 2, "a path is never a flag: {ran:?}");
}
