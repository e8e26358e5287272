//! The README is run, and what it says about rules, flags and files is compared with what there is.

use std::{fs, path::Path, process::Command};

use tollgate::rules::{Effect, RULES};

use crate::support::{apiserver::MAIN, find::neighbour, serve::TOLLGATE};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("it is there")
}

/// The fenced blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("\n```").next().expect("split yields one").to_owned()).collect()
}

/// Runs a command line in the repository, with the binary under test and the neighbours in PATH; both streams as one text.
fn run(command: &str) -> String {
    let folders = [Path::new(TOLLGATE).parent().map(Path::to_owned), neighbour("kubectl").parent().map(Path::to_owned)];
    let path = std::env::var("PATH").unwrap_or_default();
    let path = folders.iter().flatten().map(|folder| folder.display().to_string()).chain([path]).collect::<Vec<_>>().join(":");
    let kubectl = MAIN.kubectl_command();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{command} 2>&1")]).current_dir(root()).env("PATH", path);
    for (name, value) in kubectl.get_envs() {
        shell.env(name, value.expect("set"));
    }
    let output = shell.output().expect("sh is there");
    // kubectl ends some lines with a space, which nobody sees in a README.
    String::from_utf8_lossy(&output.stdout).lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn transcripts_are_what_happens() {
    let _webhook = MAIN.webhook_in_existing("tollgate-demo", &[]);
    let (mut ran, mut wrong) = (0, String::new());
    for block in blocks(&readme(), "console") {
        for transcript in format!("\n{block}").split("\n$ ").skip(1) {
            let (command, printed) = transcript.split_once('\n').unwrap_or((transcript, ""));
            // Which webhooks this cluster has is up to the tests that run at once; that has a cluster and a test of its own, as the proxy has.
            if ["tollgate doctor", "tollgate top --once"].contains(&command) {
                continue;
            }
            let got = run(command);
            if got != printed {
                wrong.push_str(&format!("$ {command}\n{got}\n"));
            }
            ran += 1;
        }
    }
    assert!(wrong.is_empty(), "the README should say\n{wrong}");
    assert!(ran >= 4, "the README shows {ran} commands");
}

#[test]
fn the_table_of_rules_is_the_table_in_the_code() {
    let readme = readme();
    for rule in &RULES {
        let level = if rule.level == Effect::Deny { "deny" } else { "warn" };
        let row = format!("| {} | {level} | {} |", rule.id, rule.says.replace('|', "\\|"));
        assert!(readme.contains(&row), "the README lacks: {row}");
    }
    let rows = readme.lines().filter(|line| line.starts_with("| TG")).count();
    assert_eq!(rows, RULES.len(), "a row too many");
}

#[test]
fn links_to_files_lead_somewhere() {
    for file in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root().join(file)).expect("it is there");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let is_local = !target.contains("://") && !target.starts_with('#');
            let path = target.split('#').next().expect("split yields one");
            assert!(!is_local || root().join(path).exists(), "{file} links to {target}");
        }
    }
}

#[test]
fn make_targets_that_are_named_exist() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("it is there");
    for file in ["README.md", "CONTRIBUTING.md", ".ci/run"] {
        let text = fs::read_to_string(root().join(file)).expect("it is there");
        for target in text.split("make ").skip(1) {
            let target: String = target.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            let named = ["sure", "s"].contains(&target.as_str()) || target.is_empty();
            assert!(named || makefile.contains(&format!("\n{target}:")), "{file} names make {target}");
        }
    }
}
