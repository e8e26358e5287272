//! `.ci/sbom`, which a release runs for each binary: it lists what cargo builds into it, no more and no less.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

use super::shipped;
use crate::{
    chart::text,
    support::{find::neighbour, pages::root},
};

/// Of an image.
const SMALL: [&str; 3] = ["--no-default-features", "--features", "cli"];

fn sbom(args: &[&str]) -> String {
    let output = Command::new(neighbour("python3")).arg(root().join(".ci/sbom")).args(args).output().expect("python3 starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The crates that cargo shows, without the first, which is ours.
fn tree(edges: &str, args: &[&str]) -> BTreeSet<String> {
    let shown = ["tree", "--locked", "--edges", edges, "--prefix", "none", "--format", "{p}"];
    let output = Command::new(env!("CARGO")).current_dir(root()).args(shown).args(args).output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let named = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    String::from_utf8_lossy(&output.stdout).lines().skip(1).map(named).collect()
}

fn named(component: &Value) -> String {
    format!("{} v{}", text(component, "/name"), text(component, "/version"))
}

#[test]
fn it_lists_the_normal_dependency_tree_of_each_binary() {
    let linux = ["--target", "x86_64-unknown-linux-musl"];
    for args in [&[][..], &SMALL, &linux, &[&linux[..], &SMALL].concat()] {
        let bom: Value = serde_json::from_str(&sbom(args)).expect("JSON");
        let components = bom["components"].as_array().expect("a list");
        let of = |scope: &str| components.iter().filter(|crate_| text(crate_, "/scope") == scope).map(named).collect::<BTreeSet<_>>();
        let (built_in, macros) = (of("required"), of("excluded"));
        assert_eq!(built_in, tree("normal,no-proc-macro", args), "{args:?}");
        assert_eq!(&built_in | &macros, tree("normal", args), "{args:?}");
        assert_eq!(built_in.len() + macros.len(), components.len(), "{args:?}: each once");
        let has = |set: &BTreeSet<String>, name: &str| set.iter().any(|crate_| crate_.starts_with(&format!("{name} v")));
        assert!(has(&built_in, "kube") && has(&macros, "serde_derive") && !has(&built_in, "serde_derive"), "{args:?}");
        assert_eq!(has(&built_in, "ratatui"), !args.contains(&"cli"), "{args:?}");
        assert!(!has(&built_in, "proptest") && !has(&built_in, "cc"), "{args:?}: what tests and builds need");
    }
}

#[test]
fn each_crate_has_its_checksum_and_licence_and_what_it_depends_on() {
    let (written, again) = (sbom(&SMALL), sbom(&SMALL));
    assert_eq!(written, again, "of the same sources");
    assert!(!written.contains(&root().display().to_string()), "no path of this machine");
    let bom: Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!((text(&bom, "/bomFormat"), text(&bom, "/specVersion")), ("CycloneDX", "1.6"));
    let own = &bom["metadata"]["component"];
    assert_eq!((named(own), text(own, "/licenses/0/expression")), (format!("tollgate v{}", env!("CARGO_PKG_VERSION")), "Apache-2.0"));
    let lock = shipped("Cargo.lock");
    let components = bom["components"].as_array().expect("a list");
    for component in components {
        let (name, version, sum) = (text(component, "/name"), text(component, "/version"), text(component, "/hashes/0/content"));
        let locked = format!("name = \"{name}\"\nversion = \"{version}\"\nsource = ");
        let entry = lock.split("[[package]]\n").find(|entry| entry.starts_with(&locked)).expect("it is locked");
        assert!(sum.len() == 64 && entry.contains(&format!("checksum = \"{sum}\"")), "{name}: {sum}");
        assert_eq!(text(component, "/purl"), format!("pkg:cargo/{name}@{version}"));
        let licence = text(component, "/licenses/0/expression");
        assert!(!licence.is_empty() && !licence.contains('/'), "{name}: {licence}");
    }
    let depends: BTreeMap<_, BTreeSet<_>> = bom["dependencies"].as_array().expect("a list").iter().map(on).collect();
    let known: BTreeSet<_> = components.iter().chain([own]).map(|component| text(component, "/bom-ref")).collect();
    assert_eq!(depends.keys().copied().collect::<BTreeSet<_>>(), known);
    let needed: BTreeSet<_> = depends.values().flatten().copied().chain([text(own, "/bom-ref")]).collect();
    assert_eq!(needed, known, "nothing that nothing needs");
}

fn on(dependency: &Value) -> (&str, BTreeSet<&str>) {
    let on = dependency["dependsOn"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    (text(dependency, "/ref"), on)
}

/// The flags by which a binary is built are those of its SBOM.
#[test]
fn a_release_writes_one_for_each_binary_as_it_is_built() {
    let workflow = shipped(".github/workflows/release.yaml");
    assert!(workflow.contains("cargo build --profile dist --locked --bin tollgate --target \"$TARGET\"\n"));
    assert!(workflow.contains(".ci/sbom --target \"$TARGET\" >\"$NAME.cdx.json\"\n"));
    assert!(workflow.contains(&format!(".ci/sbom --target x86_64-unknown-linux-musl {} >\"$sbom\"\n", SMALL.join(" "))));
    for file in ["Containerfile", ".ci/image"] {
        assert!(shipped(file).contains(&SMALL.join(" ")), "{file}");
    }
}
