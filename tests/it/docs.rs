//! The README and the pages of `docs/` are run, and the rules, flags and files that they name are compared with the code.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use tollgate::rules::{Effect, RULES};

use crate::support::{
    apiserver::MAIN,
    find::neighbour,
    pages::{self, Page, root},
    serve::TOLLGATE,
};

/// Transcripts with a cluster or a proxy of their own: other tests compare them.
const RUN_ELSEWHERE: [&str; 2] = ["tollgate doctor", "tollgate top --once"];

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
    // kubectl ends some lines with a space, which is invisible on a page.
    String::from_utf8_lossy(&output.stdout).lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn transcripts_are_what_happens() {
    let _webhook = MAIN.webhook_in_existing("tollgate-demo", &[]);
    let (mut ran, mut wrong) = (0, String::new());
    for page in pages::manual() {
        for block in page.blocks("console") {
            for transcript in format!("\n{block}").split("\n$ ").skip(1) {
                let (command, printed) = transcript.split_once('\n').unwrap_or((transcript, ""));
                if RUN_ELSEWHERE.contains(&command) {
                    continue;
                }
                let got = run(command);
                if got != printed {
                    wrong.push_str(&format!("{}:\n$ {command}\n{got}\n", page.path));
                }
                ran += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "the pages should say\n{wrong}");
    assert!(ran >= 8, "the pages show {ran} commands");
}

#[test]
fn the_table_of_rules_is_the_table_in_the_code() {
    let page = Page::read("docs/rules.md");
    for rule in &RULES {
        let level = if rule.level == Effect::Deny { "deny" } else { "warn" };
        let row = format!("| {} | {level} | {} |", rule.id, rule.says.replace('|', "\\|"));
        assert!(page.text.contains(&row), "docs/rules.md lacks: {row}");
    }
    let rows = page.text.lines().filter(|line| line.starts_with("| TG")).count();
    assert_eq!(rows, RULES.len(), "a row too many");
}

#[test]
fn the_readme_is_short_and_leads_to_every_page() {
    let readme = Page::read("README.md");
    let lines = readme.text.lines().count();
    assert!(lines <= 250, "the README has {lines} lines: move reference to docs/");
    for page in pages::docs() {
        assert!(readme.text.contains(&format!("]({})", page.path)), "the README does not link to {}", page.path);
    }
}

#[test]
fn rust_blocks_are_compiled() {
    let library = fs::read_to_string(root().join("src/lib.rs")).expect("it is there");
    for page in pages::manual() {
        let is_included = library.contains(&format!("include_str!(\"../{}\")", page.path));
        assert!(is_included || page.blocks("rust").is_empty(), "{} has Rust, and src/lib.rs does not run it", page.path);
    }
}

#[test]
fn every_feature_is_in_the_table_of_features() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("it is there");
    let features = manifest.split("\n[features]\n").nth(1).and_then(|rest| rest.split("\n\n[").next()).expect("a table of features");
    let names = features.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).filter(|name| *name != "default");
    let page = Page::read("docs/library.md");
    for name in names {
        let is_there = page.text.lines().any(|line| line.starts_with(&format!("| `{name}`")));
        assert!(is_there, "docs/library.md lacks the feature {name}");
    }
}

#[test]
fn make_targets_that_are_named_exist() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("it is there");
    for page in pages::all().into_iter().chain([Page::read(".ci/run")]) {
        // In prose, only code names a target; a script is code.
        let text = if page.path.ends_with(".md") { page.text.replace("`make ", "`\u{0}") } else { page.text.replace("make ", "\u{0}") };
        for target in text.split('\u{0}').skip(1) {
            let target: String = target.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            assert!(target.is_empty() || makefile.contains(&format!("\n{target}:")), "{} names make {target}", page.path);
        }
    }
}

/// Flags of other programs that the pages name.
const FLAGS_OF_OTHERS: [&str; 22] = [
    "--action",
    "--atomic",
    "--build-arg",
    "--create-namespace",
    "--direction",
    "--force-conflicts",
    "--locked",
    "--manifest",
    "--network",
    "--open",
    "--path",
    "--platform",
    "--release",
    "--reuse-values",
    "--rollback-on-failure",
    "--rules",
    "--set",
    "--set-file",
    "--show-managed-fields",
    "--source-ranges",
    "--target-tags",
    "--wait",
];

/// Every word of a text that begins as a long flag does.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
    words.filter(|word| word.starts_with("--") && word.len() > 3 && !word.starts_with("---")).map(str::to_owned).collect()
}

#[test]
fn flags_that_are_named_exist() {
    let help = |args: &[&str]| {
        let output = Command::new(TOLLGATE).args(args).arg("--help").output().expect("the binary starts");
        String::from_utf8(output.stdout).expect("text")
    };
    let top = help(&[]);
    let list = top.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list of commands");
    let commands = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| !name.is_empty());
    let mut known = flags(&top);
    known.extend(commands.flat_map(|command| flags(&help(&[command]))));
    for command in ["ls", "get", "reset"] {
        known.extend(flags(&help(&["limits", command])));
    }
    for page in pages::manual() {
        let unknown: Vec<_> =
            flags(&page.text).into_iter().filter(|flag| !known.contains(flag) && !FLAGS_OF_OTHERS.contains(&flag.as_str())).collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}", page.path);
    }
}

/// Folders of the repository whose files the pages name in code.
const FOLDERS: [&str; 6] = ["src/", "tests/", "docs/", "examples/", "manifests/", ".github/"];

#[test]
fn files_that_are_named_exist() {
    let mut seen = 0;
    for page in pages::all() {
        let prose = page.prose();
        let spans = prose.split('`').skip(1).step_by(2);
        // NAME stands for what a contributor adds.
        let paths = spans.filter(|span| FOLDERS.iter().any(|folder| span.starts_with(folder)) && !span.contains("NAME"));
        for path in paths {
            seen += 1;
            assert!(root().join(path).exists(), "{} names {path}", page.path);
        }
    }
    assert!(seen >= 20, "only {seen} files were found");
}
