//! A real `tollgate proxy` of a test's own, on free ports.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{
    process::Process,
    serve::{TOLLGATE, address_after, clean, command},
};

/// A running proxy; killed when dropped.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    folder: TempDir,
    pub address: SocketAddr,
    pub metrics: SocketAddr,
}

impl Proxy {
    /// In front of a server, with the limits of a resource in YAML.
    pub fn start(upstream: &str, resource: &str, args: &[&str]) -> Self {
        Self::launch("127.0.0.1:0", None, upstream, resource, args)
    }

    /// The same in a shell that first does this.
    pub fn start_after(first: &str, upstream: &str, resource: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut shell = clean("sh", &folder);
        shell.args(["-c", &format!("{first} && exec \"$0\" \"$@\""), TOLLGATE]);
        Self::run(shell, folder, "127.0.0.1:0", upstream, resource, args)
    }

    /// The same at another address than loopback's.
    pub fn start_listening(listen: &str, upstream: &str, resource: &str, args: &[&str]) -> Self {
        Self::launch(listen, None, upstream, resource, args)
    }

    /// The same, with the system's CA certificates replaced.
    pub fn start_trusting(ca: &Path, upstream: &str, resource: &str, args: &[&str]) -> Self {
        Self::launch("127.0.0.1:0", Some(ca), upstream, resource, args)
    }

    /// With the limits of an object in a cluster.
    pub fn watching(kubeconfig: &Path, object: &str, upstream: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = command(&folder);
        command.args(["proxy", "--watch", object, "--listen", "127.0.0.1:0", "--upstream", upstream, "--kubeconfig"]);
        command.arg(kubeconfig).args(args);
        Self::begin(folder, &mut command)
    }

    fn launch(listen: &str, ca: Option<&Path>, upstream: &str, resource: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = command(&folder);
        if let Some(ca) = ca {
            command.env("SSL_CERT_FILE", ca);
        }
        Self::run(command, folder, listen, upstream, resource, args)
    }

    fn run(mut command: Command, folder: TempDir, listen: &str, upstream: &str, resource: &str, args: &[&str]) -> Self {
        std::fs::write(folder.path().join("resource.yaml"), resource).expect("the folder is ours");
        command.args(["proxy", "-f", "resource.yaml", "--listen", listen, "--upstream", upstream]).args(args);
        Self::begin(folder, &mut command)
    }

    fn begin(folder: TempDir, command: &mut Command) -> Self {
        let mut process = Process::start(command.args(["--metrics-listen", "127.0.0.1:0"]));
        let greeting = process.line();
        let address = address_after(&greeting, " on https://").or_else(|| address_after(&greeting, " on http://"));
        let (Some(address), Some(metrics)) = (address, address_after(&greeting, "metrics on http://")) else {
            process.give_up("tollgate proxy");
        };
        process.ignore_stdout();
        Self { process, folder, address, metrics }
    }

    /// The file that its limits come from.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("resource.yaml")
    }

    /// The address that clients connect to.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

impl Deref for Proxy {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Proxy {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
