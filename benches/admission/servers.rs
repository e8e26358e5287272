//! The two servers.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::shared::server::Server;

/// The real binary with development certificates in `folder`, and its defaults but for `args`.
pub(super) fn tollgate(folder: &Path, args: &[&str]) -> anyhow::Result<Server> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]).args(args);
    Server::start(command, folder, "tollgate")
}

/// This executable as the bare server, with tollgate's certificate.
pub(super) fn bare(folder: &Path) -> anyhow::Result<Server> {
    let certs = folder.join(CERTS);
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(super::BARE_SERVER).arg(certs.join("tls.crt")).arg(certs.join("tls.key"));
    Server::start(command, folder, "bare")
}

const CERTS: &str = "certs/dev";

/// The CA of the development certificates, PEM.
pub(super) fn ca(folder: &Path) -> PathBuf {
    folder.join(CERTS).join("ca.crt")
}
