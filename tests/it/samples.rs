//! The shipped samples say in their first lines what is found in them: `# expect: RULE path`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tollgate::rules::{Context, Effect, check};

use crate::rules::{read_object, subject};

pub fn samples(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/samples").join(folder);
    let files: Vec<_> = fs::read_dir(root).expect("the samples").map(|entry| entry.expect("a sample").path()).collect();
    assert!(files.len() > 5, "{folder}: the samples are gone");
    files
}

/// The rule and path of each `# expect:` line.
pub fn expected(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a sample");
    text.lines().filter_map(|line| line.strip_prefix("# expect: ")).map(str::to_owned).collect()
}

/// What is found in a sample, and whether something denies it.
fn found(file: &Path) -> (Vec<String>, bool) {
    let object = read_object(file);
    let found = check(&Context::new(subject(&object)));
    (found.iter().map(|found| format!("{} {}", found.rule, found.path)).collect(), found.iter().any(|found| found.level == Effect::Deny))
}

#[test]
fn bad_samples_are_denied_for_exactly_what_they_say() {
    for file in samples("bad") {
        let (mut found, denied) = found(&file);
        let mut expected = expected(&file);
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{}", file.display());
        assert!(denied, "{}: nothing denies it", file.display());
    }
}

#[test]
fn good_samples_are_allowed_and_warn_of_what_they_say() {
    for file in samples("good") {
        let (found, denied) = found(&file);
        assert_eq!(found, expected(&file), "{}", file.display());
        assert!(!denied, "{}: {found:?}", file.display());
    }
}

#[test]
fn a_bad_sample_is_named_after_the_rule_that_denies_it() {
    for file in samples("bad") {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned();
        let rule = name.split('-').next().unwrap_or_default().to_uppercase();
        assert!(expected(&file).iter().any(|line| line.starts_with(&rule)), "{name}");
    }
}
