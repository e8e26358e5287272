//! Files of one module that name each other in a circle, and commands that name each other.
//!
//! A file names another by `crate::`, `super::` or `self::`, and `mod.rs` its children also by their bare names. A path ends at the file
//! that defines the item: what `mod.rs` hands on by `pub use` is its child's. Tests inside of files are passed over.
//!
//! The types that a module is about may be defined in its `mod.rs`, whose children name them. In the command line not even that is allowed:
//! there `mod.rs` is what runs, and stands above all that it runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::source::{Source, find_use, sources, spelled_out};

/// The modules of the command line, row by row: each names only modules of rows above its own. `mod.rs` names all.
const COMMAND_LINE: [&[&str]; 5] = [
    &["exit", "in_order", "inputs", "kustomize", "open_files", "output", "redis", "runtime", "table", "values", "version"],
    &["findings", "fronts", "ignores", "signals", "target", "telemetry", "trust"],
    &["callers", "crd_files"],
    &["audit", "authz", "certs", "check", "completions", "crds", "doctor", "explain", "limits", "man", "migrate", "proxy", "serve", "top"],
    &["args"],
];

/// Which files of `src` each file names, by the paths of their modules.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The path of a file's module: `cli::serve::args`, and `cli` for `cli/mod.rs`.
fn module_path(source: &Source) -> String {
    source.name.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
}

/// What a file holds, as far as it is of interest here.
struct Parsed {
    /// The code without its tests, `use` trees written out, and without what is handed on.
    code: String,
    /// What is handed on: a name, and its path.
    handed_on: HashMap<String, String>,
    /// Children that are declared here.
    children: Vec<String>,
}

fn parse(module: &str, text: &str) -> Parsed {
    let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let (mut rest, mut own, mut handed_on) = (code.to_owned(), String::new(), HashMap::new());
    while let Some(at) = find_use(&rest) {
        let end = rest[at..].find(';').map_or(rest.len(), |end| at + end + 1);
        let (before, statement) = (&rest[..at], &rest[at..end]);
        let is_handed_on = before.trim_end().ends_with("pub") || before.trim_end().ends_with("pub(super)");
        own.push_str(before);
        if is_handed_on {
            for path in spelled_out(statement).split_whitespace().filter(|path| path.contains("::")) {
                let path = absolute(module, path);
                let name = path.rsplit("::").next().unwrap_or_default().to_owned();
                handed_on.insert(name, path);
            }
        } else {
            own.push_str(statement);
        }
        rest = rest[end..].to_owned();
    }
    own.push_str(&rest);
    let code = spelled_out(&own);
    let declared = code.lines().filter_map(|line| line.trim().strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name.to_owned()));
    let children = declared.filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_')).collect();
    Parsed { code, handed_on, children }
}

/// A path from the root of the crate.
fn absolute(module: &str, path: &str) -> String {
    let mut at: Vec<&str> = module.split("::").collect();
    let mut steps = path.split("::").peekable();
    while let Some(step) = steps.next_if(|step| ["crate", "super", "self"].contains(step)) {
        match step {
            "crate" => at.clear(),
            "super" => drop(at.pop()),
            _ => {}
        }
    }
    at.into_iter().chain(steps).collect::<Vec<_>>().join("::")
}

/// Every path in the code that begins with one of these.
fn paths<'c>(code: &'c str, start: &str) -> Vec<&'c str> {
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let begins = code.match_indices(start).map(|(at, _)| at).filter(|at| !code[..*at].ends_with(is_of_path));
    begins.map(|at| code[at..].split(|c| !is_of_path(c)).next().unwrap_or_default().trim_end_matches(':')).collect()
}

fn graph() -> Graph {
    let sources = sources();
    let parsed: BTreeMap<_, _> = sources.iter().map(|source| (module_path(source), parse(&module_path(source), &source.text))).collect();
    let named = |module: &String, file: &Parsed| {
        // A visibility is not an arrow.
        let code = file.code.replace("pub(in crate", "");
        let mut named: Vec<_> =
            ["crate::", "super::", "self::"].iter().flat_map(|start| paths(&code, start)).map(|path| absolute(module, path)).collect();
        for child in &file.children {
            named.extend(paths(&code, &format!("{child}::")).into_iter().map(|path| format!("{module}::{path}")));
        }
        let files = named.iter().filter_map(|path| defining(&parsed, path));
        let is_own = |file: &String| top(file) != "cli" && format!("{module}::").starts_with(&format!("{file}::"));
        files.filter(|file| file != module && !is_own(file)).collect()
    };
    parsed.iter().map(|(module, file)| (module.clone(), named(module, file))).collect()
}

/// The file that defines what a path names.
fn defining(parsed: &BTreeMap<String, Parsed>, path: &str) -> Option<String> {
    let mut module = path;
    let mut item = None;
    while !parsed.contains_key(module) {
        let (above, name) = module.rsplit_once("::")?;
        (module, item) = (above, Some(name));
    }
    match item.and_then(|item| parsed[module].handed_on.get(item)) {
        Some(elsewhere) if elsewhere != path => defining(parsed, elsewhere),
        _ => Some(module.to_owned()),
    }
}

/// The top-level module of a path.
fn top(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// A circle through a file, without leaving its module.
fn circle(graph: &Graph, from: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = way.last()?;
        for next in graph.get(last).into_iter().flatten().filter(|next| top(next) == top(from)) {
            let longer = [way.as_slice(), std::slice::from_ref(next)].concat();
            if next == from {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                ways.insert(0, longer);
            }
        }
    }
    None
}

#[test]
fn no_files_of_a_module_name_each_other_in_a_circle() {
    let graph = graph();
    let mut known = BTreeSet::new();
    let mut circles = Vec::new();
    for file in graph.keys().filter(|file| !["lib", "main"].contains(&file.as_str())) {
        if let Some(circle) = circle(&graph, file)
            && circle.iter().all(|file| !known.contains(file))
        {
            known.extend(circle.iter().cloned());
            circles.push(circle.join(" -> "));
        }
    }
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), circles.join("\n"));
}

#[test]
fn a_command_names_only_what_is_above_it() {
    let row = |module: &str| COMMAND_LINE.iter().position(|row| row.contains(&module));
    for (file, named) in graph().iter().filter(|(file, _)| file.starts_with("cli::")) {
        let module = |path: &str| path.split("::").nth(1).unwrap_or_default().to_owned();
        let own = row(&module(file)).unwrap_or_else(|| panic!("{file} is missing from COMMAND_LINE"));
        for other in named.iter().filter(|other| top(other) == "cli") {
            let is_above = row(&module(other)).is_some_and(|other| other < own);
            assert!(is_above || module(other) == module(file), "{file} names {other}, which is not above it");
        }
    }
}

#[test]
fn what_is_handed_on_is_defined_by_the_child() {
    let text = "mod a;\npub use self::a::{A, b::C};\nuse super::x::Y;\nfn f() { a::g(); }\n#[cfg(test)]\nmod tests { use crate::z::Z; }";
    let parsed = parse("top::inner", text);
    assert_eq!(parsed.handed_on["C"], "top::inner::a::b::C");
    assert_eq!(parsed.children, ["a"]);
    assert!(!parsed.code.contains("crate::z") && !parsed.code.contains("self::a::A"), "{}", parsed.code);
    assert_eq!((absolute("top::inner", "super::x::Y").as_str(), absolute("top::inner", "crate::z").as_str()), ("top::x::Y", "z"));
    assert_eq!(paths("a::g(); aa::h()", "a::"), ["a::g"]);
}
