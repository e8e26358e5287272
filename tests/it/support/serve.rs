//! A real `tollgate serve` of a test's own, on free ports, with certificates of its own.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::process::Process;
pub use super::process::wait_until;

/// The binary under test.
pub const TOLLGATE: &str = env!("CARGO_BIN_EXE_tollgate");

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Serve {
    process: Process,
    /// Its working directory; development certificates are under `certs/dev`.
    pub folder: TempDir,
    pub address: SocketAddr,
    pub metrics: SocketAddr,
    /// Everything printed to stdout before it served.
    pub greeting: String,
}

impl Serve {
    /// Starts with development certificates and further arguments.
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), args)
    }

    /// The same in a folder that is already there.
    pub fn start_in(folder: TempDir, args: &[&str]) -> Self {
        Self::launch(folder, "127.0.0.1:0", args)
    }

    /// The same at another address than loopback's.
    pub fn start_listening(listen: &str, args: &[&str]) -> Self {
        Self::launch(tempfile::tempdir().expect("a folder"), listen, args)
    }

    /// The same with further variables in its environment.
    pub fn start_with(folder: TempDir, environment: &[(&str, &str)], args: &[&str]) -> Self {
        Self::launch_with(folder, environment, "127.0.0.1:0", args)
    }

    fn launch(folder: TempDir, listen: &str, args: &[&str]) -> Self {
        Self::launch_with(folder, &[], listen, args)
    }

    fn launch_with(folder: TempDir, environment: &[(&str, &str)], listen: &str, args: &[&str]) -> Self {
        let listen = ["serve", "--listen", listen, "--metrics-listen", "127.0.0.1:0"];
        let mut process = Process::start(command(&folder).envs(environment.iter().copied()).args(listen).args(args));
        let mut greeting = process.line();
        let (Some(address), Some(metrics)) = (address_after(&greeting, "https://"), address_after(&greeting, "http://")) else {
            process.give_up("tollgate serve");
        };
        if greeting.len() > 1 && !args.contains(&"--tls-cert") && !args.contains(&"--certs-secret") {
            for _ in 0..10 {
                greeting.push_str(&process.line());
            }
        }
        process.ignore_stdout();
        Self { process, folder, address, metrics, greeting }
    }

    /// The CA of the development certificates, PEM.
    pub fn ca(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("certs/dev/ca.crt")).expect("made at start")
    }

    /// Base64 of the CA, as in `caBundle`.
    pub fn ca_bundle(&self) -> String {
        let line = self.greeting.lines().find_map(|line| line.strip_prefix("caBundle: "));
        line.expect("the greeting has it").to_owned()
    }

    pub fn webhooks_yaml(&self) -> PathBuf {
        self.folder.path().join("certs/dev/webhooks.yaml")
    }
}

impl Deref for Serve {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Serve {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The address that follows a mark in what was printed.
pub fn address_after(printed: &str, mark: &str) -> Option<SocketAddr> {
    printed.split(mark).nth(1)?.split([',', '/', '\n']).next()?.parse().ok()
}

/// The binary in a folder that is its home, too, without the environment's own settings: a developer's kubeconfig is none of a test's.
pub fn command(folder: &TempDir) -> Command {
    let mut command = clean(TOLLGATE, folder);
    command.env("HOME", folder.path());
    command
}

/// Any program in a folder, without the environment's own settings.
pub fn clean(program: &str, folder: &TempDir) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder.path()).stdin(Stdio::null());
    let is_setting = |name: &str| {
        let upper = name.to_uppercase();
        upper.starts_with("TOLLGATE_") || upper.ends_with("_PROXY") || ["KUBECONFIG", "KUBERNETES_SERVICE_HOST"].contains(&name)
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}
