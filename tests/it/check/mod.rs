//! `tollgate check`, as a person or a pipeline runs it.

mod crd;
mod ignores;
mod outputs;
mod pipelines;
mod source;
mod texts;

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::serve::command;

/// A manifest that every rule is content with.
pub const GOOD: &str = "\
apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPServer
metadata:
  name: fetch
  namespace: demo
spec:
  sessionStorage: {provider: redis, address: 'redis:6379'}
  rateLimiting:
    global:
      maxTokens: 100
      refillPeriod: 1m0s
";

/// The same with a limit of nothing, in line 10.
pub fn bad() -> String {
    GOOD.replace("maxTokens: 100", "maxTokens: 0")
}

/// A folder with these files.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().expect("it has one")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    folder
}

/// What a run said, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("an exit code"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }

    /// `rule path line:column` of each finding.
    pub fn findings(&self) -> Vec<String> {
        let json = self.json();
        let text = |found: &Value, key: &str| found[key].as_str().unwrap_or("-").to_owned();
        let row = |found: &Value| format!("{} {} {}:{}", text(found, "rule"), text(found, "path"), found["line"], found["column"]);
        json["findings"].as_array().expect("a list").iter().map(row).collect()
    }
}

pub fn tollgate(folder: &TempDir, args: &[&str]) -> Ran {
    Ran::of(command(folder).args(args).output().expect("it starts"))
}

pub fn check(folder: &TempDir, args: &[&str]) -> Ran {
    tollgate(folder, &[&["check"], args].concat())
}

pub fn feed(command: &mut Command, text: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    Ran::of(child.wait_with_output().expect("it ends"))
}

pub fn check_stdin(text: &str, args: &[&str]) -> Ran {
    let folder = folder(&[]);
    feed(command(&folder).arg("check").args(args).arg("-"), text)
}

#[test]
fn bad_samples_are_refused_with_the_ids_and_paths_that_they_expect() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (kind, code) in [("bad", 1), ("good", 0)] {
        for file in crate::samples::samples(kind) {
            let folder = folder(&[]);
            let ran = check(&folder, &["--output", "json", &file.display().to_string()]);
            let mut found: Vec<_> = ran.findings().iter().map(|row| row.rsplit_once(' ').expect("a place").0.to_owned()).collect();
            let mut expected = crate::samples::expected(&file);
            found.sort();
            expected.sort();
            assert_eq!((ran.code, found), (code, expected), "{}", file.strip_prefix(root).unwrap_or(&file).display());
        }
    }
}

#[test]
fn every_rule_case_is_found_at_a_place_that_shows_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/rules");
    let mut pointed = 0;
    for case in fs::read_dir(root).expect("the cases").map(|case| case.expect("a case").path()) {
        let text = fs::read_to_string(case.join("object.yaml")).expect("an object");
        let text = if text.contains("apiVersion:") { text } else { format!("apiVersion: toolhive.stacklok.dev/v1beta1\n{text}") };
        let ran = check_stdin(&text, &["--output", "json"]);
        for found in ran.json()["findings"].as_array().expect("a list") {
            let line = text.lines().nth(found["line"].as_u64().expect("a line") as usize - 1).expect("a line of the text");
            let rest: String = line.chars().skip(found["column"].as_u64().expect("a column") as usize - 1).collect();
            // A field that is missing is shown at the one above it.
            let path = found["path"].as_str().unwrap_or_else(|| panic!("{}: {found}", case.display()));
            let mut names = path.rsplit('.').take(2).map(|step| step.split(['[', '"']).find(|name| !name.is_empty()).unwrap_or("tools"));
            let is_entry = line.trim_start().starts_with("- ") && path.contains("tools[");
            let shows = is_entry || path.ends_with("\"]") || names.any(|name| line.contains(name));
            assert!(shows && !rest.trim().is_empty(), "{}: {found}\n{line}", case.display());
            pointed += 1;
        }
    }
    assert!(pointed > 100, "only {pointed} findings");
}
