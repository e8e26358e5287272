//! The two servers as processes: started, looked at from outside, and killed when dropped.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::Context;

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    process: Process,
    address: SocketAddr,
    /// Held, as a server that prints into a closed pipe may stop.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// The real binary with its defaults, and development certificates in `folder`.
    pub(super) fn tollgate(folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
        Self::start(command, folder, "tollgate").context("tollgate does not start")
    }

    /// This executable as the bare server, with tollgate's certificate.
    pub(super) fn bare(folder: &Path) -> anyhow::Result<Self> {
        let certs = folder.join(CERTS);
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(super::BARE_SERVER).arg(certs.join("tls.crt")).arg(certs.join("tls.key"));
        Self::start(command, folder, "bare").context("the bare server does not start")
    }

    /// Waits for the line that says where the server is. Nothing of our own environment reaches it.
    fn start(mut command: Command, folder: &Path, name: &str) -> anyhow::Result<Self> {
        let log = folder.join(name).with_extension("log");
        command.env_clear().current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut process = Process(command.spawn()?);
        let mut stdout = BufReader::new(process.0.stdout.take().context("stdout is piped")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let address = line.split("https://").nth(1).and_then(|rest| rest.split([',', '/']).next()).and_then(|text| text.parse().ok());
        let address = address.with_context(|| format!("it said {line:?} and {:?}", std::fs::read_to_string(&log).unwrap_or_default()))?;
        Ok(Self { process, address, _stdout: stdout })
    }

    /// Where it serves.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resident memory now, in kB.
    pub(super) fn rss_kb(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// CPU time until now, in user and kernel mode.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        /// Of `USER_HZ`, which Linux fixed at 100 for `/proc`.
        const TICK: Duration = Duration::from_millis(10);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id()))?;
        // Behind the name, which may hold anything, come state and 10 more fields, then utime and stime.
        let (_, fields) = stat.rsplit_once(')').context("stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }
}

/// A process that ends with its owner.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both only fail for one that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const CERTS: &str = "certs/dev";

/// The CA of the development certificates, PEM.
pub(super) fn ca(folder: &Path) -> PathBuf {
    folder.join(CERTS).join("ca.crt")
}
