//! The arrows of the design, checked in the sources: a module names only modules above it, and the pure ones name no IO and no clock.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each top-level module and the ones that it may name. `None` stands for all of them.
const MAY_NAME: [(&str, Option<&[&str]>); 26] = [
    ("model", Some(&[])),
    ("rules", Some(&["model"])),
    ("alias", Some(&["model"])),
    ("limiter", Some(&["model"])),
    ("inspect", Some(&["limiter"])),
    ("manifest", Some(&["alias", "limiter", "model", "rules"])),
    ("crds", Some(&["model"])),
    ("admission", Some(&["alias", "model", "rules"])),
    ("mcp", Some(&["limiter"])),
    ("auth", Some(&["manifest", "model"])),
    ("stores", Some(&["inspect", "limiter", "model"])),
    ("metrics", Some(&["limiter", "model"])),
    ("tower", Some(&["limiter", "mcp"])),
    ("server", Some(&[])),
    ("cluster", Some(&["model", "rules"])),
    ("certs", Some(&[])),
    ("report", Some(&["manifest", "model", "rules"])),
    ("webhook", Some(&["admission", "cluster", "model", "rules", "server"])),
    ("proxy", Some(&["auth", "inspect", "limiter", "manifest", "mcp", "metrics", "model", "rules", "server", "stores"])),
    ("audit", Some(&["alias", "cluster", "manifest", "model", "report", "rules", "server"])),
    ("check", Some(&["manifest", "model", "report", "rules"])),
    ("migrate", Some(&["manifest", "model", "report"])),
    ("explain", Some(&["crds", "limiter", "manifest", "model", "report", "rules", "stores"])),
    ("doctor", Some(&["cluster", "limiter", "manifest", "model", "stores", "webhook"])),
    ("watch", Some(&["cluster", "manifest", "model"])),
    ("cli", None),
];

/// Modules that are given everything: no IO, no clock, no Kubernetes client.
const PURE: [&str; 8] = ["model", "rules", "alias", "limiter", "inspect", "manifest", "admission", "mcp"];

/// What a pure module may not name.
const IMPURE: [&str; 13] = [
    "kube::",
    "k8s_openapi::",
    "axum::",
    "hyper::",
    "tokio::",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Parsing an address is no IO.
const PURE_ENOUGH: [&str; 2] = ["std::net::Ipv6Addr", "std::net::Ipv4Addr"];

/// The files that belong to no module.
const ROOTS: [&str; 2] = ["lib.rs", "main.rs"];

struct Source {
    /// From `src`, with slashes.
    name: String,
    /// The first folder or file name: the top-level module.
    module: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "src was not found");
    let sources = files.into_iter().map(|file| {
        let name = file.strip_prefix(&root).expect("under src").to_string_lossy().replace('\\', "/");
        let module = name.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&file).expect("a source file is text");
        Source { name, module, text }
    });
    sources.collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code without comments, and every `use` tree written out: `use a::{b, c::{d}};` becomes `a::b a::c::d`.
fn spelled_out(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut out = String::new();
    let mut rest = code.as_str();
    while let Some(start) = find_use(rest) {
        let (before, from_use) = rest.split_at(start);
        out.push_str(before);
        let end = from_use.find(';').unwrap_or(from_use.len());
        let (tree, after) = from_use.split_at(end);
        let tree: String = tree.trim_start_matches("use").split_whitespace().collect::<Vec<_>>().join(" ");
        expand("", &tree, &mut out);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Where the next `use` that starts a statement is.
fn find_use(code: &str) -> Option<usize> {
    let at_start =
        |at: &usize| code[..*at].bytes().last().is_none_or(|before| before.is_ascii_whitespace() || before == b'{' || before == b';');
    code.match_indices("use ").map(|(at, _)| at).find(at_start)
}

fn expand(prefix: &str, tree: &str, out: &mut String) {
    for branch in branches(tree) {
        match branch.split_once('{') {
            Some((stem, inner)) => expand(&format!("{prefix}{}", stem.trim()), inner.trim_end().trim_end_matches('}'), out),
            None => {
                out.push_str(&format!(" {prefix}{branch} "));
            }
        }
    }
}

/// The parts between commas that are in no inner braces.
fn branches(tree: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0_usize, 0, Vec::new());
    for (at, byte) in tree.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                found.push(tree[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(tree[from..].trim());
    found.retain(|branch| !branch.is_empty());
    found
}

/// The names that follow `crate::`.
fn named_modules(code: &str) -> Vec<&str> {
    let after = code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    after
        .map(|(at, found)| &code[at + found.len()..])
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        .collect()
}

#[test]
fn every_module_is_in_the_table_and_names_only_what_is_above_it() {
    for source in sources().iter().filter(|source| !ROOTS.contains(&source.name.as_str())) {
        let Some((_, may_name)) = MAY_NAME.iter().find(|(module, _)| *module == source.module) else {
            panic!("src/{}: the module {} is missing from MAY_NAME", source.name, source.module);
        };
        let code = spelled_out(&source.text);
        for named in named_modules(&code) {
            assert!(MAY_NAME.iter().any(|(module, _)| *module == named), "src/{}: crate::{named} is no module of the table", source.name);
            let allowed = named == source.module || may_name.is_none_or(|allowed| allowed.contains(&named));
            assert!(allowed, "src/{}: crate::{named} is not above {} in the design's picture", source.name, source.module);
        }
    }
}

/// `super::super::x` from `config::path` would be an arrow that no `crate::` shows.
#[test]
fn no_path_climbs_out_of_its_module() {
    for source in sources().iter().filter(|source| !ROOTS.contains(&source.name.as_str())) {
        let mut depth = source.name.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
        for line in source.text.lines() {
            // The module of a file's own tests is one deeper.
            depth += usize::from(line == "#[cfg(test)]");
            let climbs = (1..=depth).rev().find(|times| line.contains(&"super::".repeat(*times))).unwrap_or_default();
            assert!(climbs < depth, "src/{}: {line}", source.name);
        }
    }
}

#[test]
fn every_module_of_the_table_is_there() {
    let sources = sources();
    for (module, _) in MAY_NAME {
        assert!(sources.iter().any(|source| source.module == module), "{module} is in the table, and not in src");
    }
}

#[test]
fn pure_modules_name_no_io_and_no_clock() {
    for source in sources().iter().filter(|source| PURE.contains(&source.module.as_str())) {
        let mut code = spelled_out(&source.text);
        for allowed in PURE_ENOUGH {
            code = code.replace(allowed, "");
        }
        for banned in IMPURE {
            assert!(!code.contains(banned), "src/{}: names {banned}", source.name);
        }
        for clock in ["Instant", "SystemTime"] {
            assert!(!code.contains(&format!("{clock}::now")), "src/{}: reads the clock", source.name);
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for source in sources() {
        let doc = source.text.lines().next().unwrap_or_default();
        assert!(doc.starts_with("//! ") && doc.len() > "//! ".len(), "src/{}: the first line is no module doc", source.name);
    }
}

#[test]
fn use_trees_are_spelled_out() {
    let code = "use std::{fs, io::{self, Read}};\n/* */ pub use crate::{config::{a, b}, cli};\nfn f() { crate::webhook::x(); other_crate::y(); } // crate::certs";
    let spelled = spelled_out(code);
    assert!(spelled.contains("std::fs") && spelled.contains("std::io::Read"), "{spelled}");
    assert_eq!(named_modules(&spelled), ["config", "config", "cli", "webhook"]);
}
