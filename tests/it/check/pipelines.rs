//! The pre-commit hooks, run by the real pre-commit; and the GitHub action, as far as it can be run without GitHub: actionlint reads it, and
//! its steps are run. Both install a released binary, which a program in curl's place serves.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{GOOD, Ran, bad, folder};
use crate::{
    migrate::git,
    support::{
        apiserver::{Judging, Names, crds},
        find::installed,
        serve::{TOLLGATE, clean},
    },
};

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

const ARCHIVE: &str = "tollgate-v1.0.0-x86_64-unknown-linux-musl";

fn script(text: &str) -> String {
    format!("#!/bin/sh\n{text}\n")
}

/// A folder `bin` with a machine whose releases are known, a cargo that only says how it is called, and a curl that has the release v1.0.0.
fn releases(tollgate: &str, checksum: Option<&str>) -> TempDir {
    let folder = folder(&[
        ("bin/curl", &script(r#"case $2 in */releases/download/v1.0.0/*) cp "$SERVED/${2##*/}" . ;; *) exit 22 ;; esac"#)),
        ("bin/cargo", &script("echo cargo \"$@\" >&2")),
        ("bin/uname", &script("echo Linux x86_64")),
        (&format!("served/{ARCHIVE}/tollgate"), tollgate),
    ]);
    let sum = checksum.map_or_else(|| format!("sha256sum {ARCHIVE}.tar.gz"), |sum| format!("echo {sum}  {ARCHIVE}.tar.gz"));
    let pack = format!("chmod +x bin/* served/*/*; cd served; tar -czf {ARCHIVE}.tar.gz {ARCHIVE}; {sum} >{ARCHIVE}.tar.gz.sha256");
    let packed = ran(shell(&folder, &pack));
    assert_eq!(packed.code, 0, "{packed:?}");
    folder
}

/// Has a command find that curl first.
fn served_by(command: &mut Command, releases: &TempDir) {
    let at = |path: &str| releases.path().join(path).display().to_string();
    command.env("PATH", format!("{}:/usr/bin:/bin", at("bin"))).env("SERVED", at("served"));
}

/// A repository that uses the hooks of this one, at the tag v1.0.0.
struct Committer {
    hooks: TempDir,
    releases: TempDir,
    folder: TempDir,
}

impl Committer {
    fn new(files: &[(&str, &str)]) -> Self {
        let manifest = "[package]\nname = \"tollgate\"\nversion = \"1.0.0\"\n";
        let hooks = folder(&[("Cargo.toml", manifest)]);
        fs::create_dir(hooks.path().join(".ci")).expect("made");
        for file in [".pre-commit-hooks.yaml", ".ci/hook", ".ci/install"] {
            fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(file), hooks.path().join(file)).expect("it is shipped");
        }
        let tag = ["tag", "-a", "-m", "as releases are", "v1.0.0"];
        for args in [&["init", "-q"][..], &["add", "-A"], &["commit", "-qm", "hooks"], &tag] {
            let ran = git(hooks.path(), args);
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        let config = format!(
            "repos:\n- repo: {}\n  rev: v1.0.0\n  hooks:\n  - id: tollgate-migrate\n    args: [--crd, .crds.yaml]\n  - id: tollgate-check\n",
            hooks.path().display(),
        );
        let crds: String = crds(Judging::No, Names::Both).iter().map(|crd| format!("---\n{crd}\n")).collect();
        let folder = folder(&[files, &[(".pre-commit-config.yaml", &config), (".crds.yaml", &crds)]].concat());
        for args in [&["init", "-q"][..], &["add", "-A"]] {
            assert_eq!(git(folder.path(), args).code, 0);
        }
        Self { hooks, releases: releases(&script(&format!("exec {TOLLGATE} \"$@\"")), None), folder }
    }

    /// Runs the real pre-commit.
    fn run(&self, args: &[&str]) -> Ran {
        let program = installed("pre-commit", "PRE_COMMIT_VERSION", "bin/pre-commit");
        let mut shell = shell(&self.folder, &format!("exec {} \"$@\"", program.display()));
        shell.arg("pre-commit").args(args);
        self.settle(&mut shell);
        ran(shell)
    }

    fn settle(&self, command: &mut Command) {
        command.env("PRE_COMMIT_HOME", self.hooks.path().join("home")).env("PRE_COMMIT_COLOR", "never");
        served_by(command, &self.releases);
    }

    /// The hooks on everything that is there: how they ended, and what was said.
    fn run_all(&self) -> (i32, String) {
        let ran = self.run(&["run", "--all-files"]);
        (ran.code, ran.stdout + &ran.stderr)
    }
}

#[test]
fn pre_commit_lets_good_manifests_pass_and_stops_bad_ones() {
    let good = Committer::new(&[("good.yaml", GOOD), ("notes.txt", &bad()), ("values.json", "{\"a\": 1}")]);
    let (code, said) = good.run_all();
    assert!(code == 0 && said.matches("Passed\n").count() == 2, "{said}");

    let faulty = Committer::new(&[("good.yaml", GOOD), ("a b/bad one.yaml", &bad())]);
    let (code, said) = faulty.run_all();
    assert!(code == 1 && said.contains("- hook id: tollgate-check\n- exit code: 1\n"), "{said}");
    assert!(said.contains("error[TG006]: spec.rateLimiting.global.maxTokens: is 0\n  --> a b/bad one.yaml:10:18\n"), "{said}");
    assert_eq!(faulty.run(&["install"]).code, 0);
    let mut commit = shell(&faulty.folder, "git -c user.name=test -c user.email=test@example.com commit -m bad");
    faulty.settle(commit.env("GIT_CONFIG_GLOBAL", "/dev/null"));
    let commit = ran(commit);
    assert!(commit.code == 1 && commit.stderr.contains("error[TG006]"), "{commit:?}");
}

#[test]
fn pre_commit_has_shared_renamed_and_leaves_alone_what_is_excluded() {
    let template = format!("{{{{- if .Values.on }}}}\n{}{{{{- end }}}}\n", bad());
    let committer = Committer::new(&[
        ("shared.yaml", &GOOD.replace("global:", "shared:")),
        ("chart/templates/server.yaml", &template),
        (".tollgate.toml", "[files]\nexclude = [\"chart/templates\"]\n"),
    ]);
    let (code, said) = committer.run_all();
    assert!(code == 1 && said.contains("- hook id: tollgate-migrate\n- files were modified by this hook\n"), "{said}");
    assert_eq!(fs::read_to_string(committer.folder.path().join("shared.yaml")).expect("a file"), GOOD);
    assert_eq!(git(committer.folder.path(), &["add", "-A"]).code, 0);
    let (code, said) = committer.run_all();
    assert!(code == 0 && said.matches("Passed\n").count() == 2, "{said}");
}

#[test]
fn pre_commit_takes_the_definition_as_it_is() {
    let committer = Committer::new(&[]);
    let definition = Path::new(env!("CARGO_MANIFEST_DIR")).join(".pre-commit-hooks.yaml");
    let ran = committer.run(&["validate-manifest", &definition.display().to_string()]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
}

#[test]
fn pre_commit_takes_the_released_binary_of_its_tag_only_and_else_builds_one() {
    let installed = |hooks: &Path, releases: &TempDir| {
        let origin = git(hooks, &["config", "remote.origin.url", &hooks.display().to_string()]);
        assert_eq!(origin.code, 0, "{origin:?}");
        let mut shell = shell(releases, &format!("{}/.ci/hook --version", hooks.display()));
        served_by(&mut shell, releases);
        // As in a hook of git: this is another repository.
        ran({
            shell.env("GIT_DIR", "/nowhere");
            shell
        })
    };
    let committer = Committer::new(&[]);
    let (hooks, says) = (committer.hooks.path(), script("echo released"));
    let wrong = installed(hooks, &releases(&says, Some(&"0".repeat(64))));
    assert!(wrong.code == 1 && wrong.stderr.contains("does not match its checksum"), "{wrong:?}");
    let first = installed(hooks, &releases(&says, None));
    assert_eq!((first.code, first.stdout.as_str()), (0, "released\n"), "{first:?}");
    let second = installed(hooks, &releases(&script("echo another"), None));
    assert_eq!((second.code, second.stdout.as_str()), (0, "released\n"), "it is installed once: {second:?}");

    // A commit after the release, whose version is still the same.
    fs::remove_dir_all(hooks.join("target")).expect("it was made");
    assert_eq!(git(hooks, &["commit", "--allow-empty", "-qm", "later"]).code, 0);
    let built = installed(hooks, &releases(&says, None));
    assert!(built.code != 0 && built.stderr.contains(&format!("cargo install --locked --path {}", hooks.display())), "{built:?}");
}

#[test]
fn a_workflow_may_use_the_action_as_the_readme_says() {
    let workflow = |inputs: &str| {
        format!(
            "on: push\njobs:\n  check:\n    runs-on: ubuntu-latest\n    steps:\n    - uses: actions/checkout@v4\n    \
             - uses: ./.github/actions/check\n      with:\n{inputs}"
        )
    };
    let lint = |inputs: &str| {
        let action = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/actions/check/action.yml")).expect("shipped");
        let folder = folder(&[(".github/actions/check/action.yml", &action), (".github/workflows/ci.yml", &workflow(inputs))]);
        assert_eq!(git(folder.path(), &["init", "-q"]).code, 0);
        let mut actionlint = clean(&installed("actionlint", "ACTIONLINT_VERSION", "actionlint").display().to_string(), &folder);
        ran({
            actionlint.args(["-no-color", "-oneline", "-shellcheck=", "-pyflakes="]);
            actionlint
        })
    };
    let inputs = shipped(".github/actions/check/action.yml")["inputs"].clone();
    let all: String = inputs.as_object().expect("a map").keys().map(|name| format!("        {name}: \"true\"\n")).collect();
    let ran = lint(&all);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    let ran = lint("        no-such: 1\n");
    assert!(ran.code == 1 && ran.stdout.contains("input \"no-such\" is not defined in action \"tollgate check\""), "{ran:?}");
}

#[test]
fn our_own_workflow_is_clean_and_runs_what_ci_runs() {
    let workflow = shipped(".github/workflows/ci.yaml");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows/ci.yaml")).expect("shipped");
    let folder = folder(&[(".github/workflows/ci.yaml", &text)]);
    assert_eq!(git(folder.path(), &["init", "-q"]).code, 0);
    let mut actionlint = clean(&installed("actionlint", "ACTIONLINT_VERSION", "actionlint").display().to_string(), &folder);
    actionlint.args(["-no-color", "-oneline", "-shellcheck=", "-pyflakes="]);
    let ran = ran(actionlint);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    let steps = workflow["jobs"]["all"]["steps"].as_array().expect("a list");
    assert!(steps.iter().any(|step| step["run"] == ".ci/run"), "{steps:?}");
    assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}));
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
            let expression = filled.as_str().and_then(|text| text.strip_prefix("${{ ")?.strip_suffix(" }}")).expect("an expression");
            // Of `github`, only the step that is skipped here wants to know something.
            shell.env(name, expression.strip_prefix("inputs.").map_or_else(String::new, &value));
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

/// Runs the step that installs, where GitHub has a release of v1.0.0 for this machine and nothing else; `checksum` is what it says of it.
fn installed_by_the_action(reference: &str, checksum: Option<&str>) -> (Ran, String) {
    let (releases, folder) = (releases("the binary", checksum), folder(&[("temp/.keep", ""), ("path", "")]));
    let action = shipped(".github/actions/check/action.yml");
    let at = |path: &str| folder.path().join(path).display().to_string();
    let mut shell = shell(&folder, action["runs"]["steps"][0]["run"].as_str().expect("a script"));
    served_by(&mut shell, &releases);
    shell.env("REF", reference).env("SERVER", "https://git.example").env("REPOSITORY", "team/tollgate");
    let ran = ran({
        let action = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/actions/check");
        shell.env("GITHUB_ACTION_PATH", action).env("RUNNER_TEMP", at("temp")).env("GITHUB_PATH", at("path"));
        shell
    });
    let added = fs::read_to_string(at("path")).expect("it is there").replace(&folder.path().display().to_string(), "");
    (ran, added)
}

#[test]
fn the_action_takes_the_released_binary_of_its_tag_and_else_builds_one() {
    let (ran, path) = installed_by_the_action("v1.0.0", None);
    assert_eq!((ran.code, path.as_str()), (0, "/temp/tollgate-v1.0.0-x86_64-unknown-linux-musl\n"), "{ran:?}");
    let (ran, path) = installed_by_the_action("v1.0.0", Some(&"0".repeat(64)));
    assert_eq!((ran.code, path.as_str()), (1, ""), "another file than the one that was released: {ran:?}");
    let build = format!("cargo install --locked --path {} --root ", env!("CARGO_MANIFEST_DIR"));
    for reference in ["main", "v2.0.0"] {
        let (ran, path) = installed_by_the_action(reference, None);
        assert!(ran.code == 0 && ran.stderr.contains(&build), "{reference}: {ran:?}");
        assert_eq!(path, "/temp/tollgate/bin\n");
    }
}
