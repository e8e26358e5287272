//! The arrows of the design, checked in the sources: a module names only modules above it, the pure ones name no IO and no clock, and no
//! files of a module name each other in a circle.

mod circles;
mod source;

use self::source::{named_modules, sources, spelled_out};

/// Each top-level module and the ones that it may name. `None` stands for all of them.
const MAY_NAME: [(&str, Option<&[&str]>); 28] = [
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
    ("metrics", Some(&["inspect", "limiter", "model"])),
    ("tower", Some(&["limiter", "mcp"])),
    ("server", Some(&[])),
    ("cluster", Some(&["model", "rules"])),
    ("certs", Some(&[])),
    ("report", Some(&["manifest", "model", "rules"])),
    ("webhook", Some(&["admission", "certs", "cluster", "model", "rules", "server"])),
    ("gate", Some(&["auth", "limiter", "manifest", "mcp", "metrics", "server", "stores"])),
    ("proxy", Some(&["auth", "gate", "inspect", "limiter", "manifest", "mcp", "metrics", "model", "rules", "server", "stores"])),
    ("authz", Some(&["auth", "gate", "limiter", "manifest", "mcp", "server", "stores"])),
    ("audit", Some(&["alias", "cluster", "manifest", "model", "report", "rules", "server"])),
    ("check", Some(&["manifest", "model", "report", "rules"])),
    ("migrate", Some(&["manifest", "model", "report"])),
    ("explain", Some(&["crds", "limiter", "manifest", "model", "report", "rules", "stores"])),
    ("doctor", Some(&["certs", "cluster", "limiter", "manifest", "model", "stores", "webhook"])),
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
