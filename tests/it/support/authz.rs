//! A real `tollgate authz` of a test's own, on free ports.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{
    process::Process,
    serve::{address_after, command},
};

/// A running service; killed when dropped.
#[derive(Debug)]
pub struct Authz {
    process: Process,
    folder: TempDir,
    pub address: SocketAddr,
    pub metrics: SocketAddr,
}

impl Authz {
    /// With the limits of these manifests, in a folder of its own.
    pub fn start(resources: &[&str], args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("servers")).expect("the folder is ours");
        for (at, resource) in resources.iter().enumerate() {
            std::fs::write(folder.path().join(format!("servers/{at}.yaml")), resource).expect("the folder is ours");
        }
        let mut command = command(&folder);
        command.args(["authz", "-f", "servers"]).args(args);
        Self::begin(folder, &mut command)
    }

    /// With the servers of a cluster, in this namespace or all.
    pub fn watching(kubeconfig: &Path, namespace: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = command(&folder);
        command.args(["authz", "--watch", namespace, "--kubeconfig"]).arg(kubeconfig).args(args);
        Self::begin(folder, &mut command)
    }

    /// With any arguments.
    pub fn begin(folder: TempDir, command: &mut Command) -> Self {
        let mut process = Process::start(command.args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]));
        let greeting = process.line();
        let (Some(address), Some(metrics)) = (grpc(&greeting), address_after(&greeting, "metrics on http://")) else {
            process.give_up("tollgate authz");
        };
        process.ignore_stdout();
        Self { process, folder, address, metrics }
    }

    /// The file of a manifest, by its place.
    pub fn file(&self, at: usize) -> PathBuf {
        self.folder.path().join(format!("servers/{at}.yaml"))
    }
}

fn grpc(greeting: &str) -> Option<SocketAddr> {
    greeting.split("grpc://").nth(1)?.split(';').next()?.parse().ok()
}

impl Deref for Authz {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Authz {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
