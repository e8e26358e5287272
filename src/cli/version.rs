//! The output of `--version`: the version, the commit it was built from, the features it was built with.
//!
//! The commit is taken from the variable `TOLLGATE_COMMIT` at build time. A build script that asked git would report the commit of another
//! repository for a vendored copy, and would rebuild the crate after each commit.

use std::sync::LazyLock;

/// The version, as in `Cargo.toml`.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Every feature of `Cargo.toml`, and whether it is built in.
const FEATURES: [(&str, bool); 20] = [
    ("admission", cfg!(feature = "admission")),
    ("alias", cfg!(feature = "alias")),
    ("auth", cfg!(feature = "auth")),
    ("authz", cfg!(feature = "authz")),
    ("cel", cfg!(feature = "cel")),
    ("certs", cfg!(feature = "certs")),
    ("cli", cfg!(feature = "cli")),
    ("cluster", cfg!(feature = "cluster")),
    ("gate", cfg!(feature = "gate")),
    ("limiter", cfg!(feature = "limiter")),
    ("manifest", cfg!(feature = "manifest")),
    ("mcp", cfg!(feature = "mcp")),
    ("metrics", cfg!(feature = "metrics")),
    ("proxy", cfg!(feature = "proxy")),
    ("redis", cfg!(feature = "redis")),
    ("serde", cfg!(feature = "serde")),
    ("server", cfg!(feature = "server")),
    ("top", cfg!(feature = "top")),
    ("tower", cfg!(feature = "tower")),
    ("webhook", cfg!(feature = "webhook")),
];

/// The text after the name.
pub(super) static LONG: LazyLock<String> = LazyLock::new(|| {
    let features: Vec<_> = FEATURES.iter().filter(|(_, built_in)| *built_in).map(|(name, _)| *name).collect();
    format!("{VERSION}\ncommit: {}\nfeatures: {}", commit(option_env!("TOLLGATE_COMMIT")), features.join(", "))
});

/// A commit's name is hexadecimal; anything else, such as an empty variable, is not a commit.
fn commit(name: Option<&'static str>) -> &'static str {
    name.filter(|name| name.len() >= 7 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_listed() {
        let manifest = include_str!("../../Cargo.toml");
        let section = manifest.split("\n[features]\n").nth(1).and_then(|rest| rest.split("\n[").next()).expect("a section of features");
        let mut named: Vec<_> = section.lines().filter_map(|line| line.split_once(" = [")).map(|(name, _)| name).collect();
        named.retain(|name| *name != "default");
        named.sort_unstable();
        assert_eq!(FEATURES.map(|(name, _)| name).as_slice(), named);
    }

    #[test]
    fn a_commit_that_was_not_given_is_unknown() {
        assert_eq!(commit(Some("94cb835e8d0a")), "94cb835e8d0a");
        for no_commit in [None, Some(""), Some("main"), Some("unknown")] {
            assert_eq!(commit(no_commit), "unknown");
        }
    }
}
