//! What a release is made of: one version, one repository, and names that fit together, in files that no compiler compares.

mod sbom;
mod signed;

use std::fs;

use serde_json::Value;

use crate::{
    migrate::git,
    support::{
        find::installed,
        pages::{self, root},
        serve::clean,
    },
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// As Cargo.toml says it.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

fn shipped(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every file that git knows, as text.
fn texts() -> Vec<(String, String)> {
    let listed = git(root(), &["ls-files"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    listed.stdout.lines().filter_map(|file| Some((file.to_owned(), fs::read_to_string(root().join(file)).ok()?))).collect()
}

/// What follows a mark, as long as the characters are those of a name or a version.
fn after<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    let part = |rest: &'a str| rest.split(|c: char| !c.is_ascii_alphanumeric() && !"-._/".contains(c)).next().unwrap_or_default();
    text.split(mark).skip(1).map(part).collect()
}

#[test]
fn every_version_is_the_crates() {
    for (file, mark) in [
        ("Containerfile", "ARG VERSION="),
        ("manifests/base/kustomization.yaml", "newTag: "),
        ("manifests/helm/tollgate/Chart.yaml", "\nversion: "),
        ("manifests/helm/tollgate/Chart.yaml", "\nappVersion: "),
    ] {
        assert_eq!(after(&shipped(file), mark), [VERSION], "{file}");
    }
    for page in pages::all() {
        for tag in ["newTag: ", "REGISTRY/tollgate:"].iter().flat_map(|mark| after(&page.text, mark)) {
            assert!([VERSION, "TAG"].contains(&tag), "{} names the tag {tag}", page.path);
        }
    }
}

#[test]
fn the_repository_is_the_one_in_the_manifest_wherever_it_is_named() {
    let (host, name) = REPOSITORY.split_once("://").expect("a URL").1.split_once('/').expect("a path");
    let owner = name.split_once('/').expect("an owner").0;
    let mut seen = 0;
    for (file, text) in texts().into_iter().filter(|(file, _)| file != "Cargo.toml" && !file.ends_with(".rs")) {
        for path in after(&text, &format!("{host}/")).into_iter().filter(|path| path.split('/').nth(1) == Some("tollgate")) {
            seen += 1;
            assert!(path.starts_with(name), "{file} names {host}/{path}");
        }
        for path in after(&text, "uses: ").into_iter().filter(|path| path.contains("/tollgate/")) {
            seen += 1;
            assert!(path.starts_with(name), "{file} uses {path}");
        }
        let placeholders = text.matches("OWNER/").count();
        assert!(placeholders == 0 || owner == "OWNER", "{file} still has {placeholders} placeholders");
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn cargo_binstall_looks_for_the_archives_that_a_release_has() {
    let manifest = shipped("Cargo.toml");
    let workflow = shipped(".github/workflows/release.yaml");
    let filled =
        |text: &str| text.replace("{ version }", "${{ needs.version.outputs.version }}").replace("{ target }", "${{ matrix.target }}");
    let line = |key: &str| {
        let found = manifest.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'));
        filled(found.expect("[package.metadata.binstall] has it"))
    };
    let url = line("pkg-url");
    let (folder, name) = url.rsplit_once('/').expect("a path");
    assert_eq!(folder, "{ repo }/releases/download/v${{ needs.version.outputs.version }}");
    let name = name.strip_suffix(".tar.gz").expect("an archive");
    assert!(workflow.contains(&format!("NAME: {name}\n")), "{name}");
    assert_eq!(line("bin-dir"), format!("{name}/{{ bin }}"));
    assert!(workflow.contains(r#"tar -czf "$NAME.tar.gz" "$NAME""#));
}

#[test]
fn the_workflow_of_a_release_is_clean_and_may_write_only_where_it_publishes() {
    let text = shipped(".github/workflows/release.yaml");
    let folder = crate::check::folder(&[(".github/workflows/release.yaml", &text)]);
    assert_eq!(git(folder.path(), &["init", "-q"]).code, 0);
    let mut actionlint = clean(&installed("actionlint", "ACTIONLINT_VERSION", "actionlint").display().to_string(), &folder);
    let output = actionlint.args(["-no-color", "-oneline", "-shellcheck=", "-pyflakes="]).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let workflow: Value = serde_saphyr::from_str(&text).expect("YAML");
    assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}));
    for (name, job) in workflow["jobs"].as_object().expect("jobs") {
        assert!(name == "publish" || job["permissions"]["contents"] != "write", "{name}");
        for step in job["steps"].as_array().expect("steps") {
            let script = step["run"].as_str().unwrap_or_default();
            assert!(!script.contains("${{"), "{name}: values come by the environment, where they are no code");
        }
    }
}
