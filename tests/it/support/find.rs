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
    let variable = format!("TOLLGATE_TEST_{}", name.to_uppercase().replace('-', "_"));
    let named = env::var_os(&variable).map(PathBuf::from);
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(name));
    let in_path =
        env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>()).map(|folder| folder.join(name));
    let mut places = named.into_iter().chain(assets).chain(in_path).chain([cached(name)]);
    places.find(|path| path.is_file()).unwrap_or_else(|| panic!("{name} is not to be found: run `make neighbours` once, or set {variable}"))
}

fn cached(name: &str) -> PathBuf {
    let (folder, variable) = if name == "etcd" { ("etcd", "ETCD_VERSION=") } else { ("kubernetes", "KUBERNETES_VERSION=") };
    let version = SETUP.lines().find_map(|line| line.strip_prefix(variable)).expect("setup.sh names the versions");
    let cache = env::var_os("TOLLGATE_TEST_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let home = || Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cache");
        env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(home).join("tollgate")
    });
    cache.join(format!("{folder}-{version}")).join(name)
}
