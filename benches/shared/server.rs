//! A server as a process of its own: started, looked at from outside, and killed when dropped.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::Context;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
    /// Held, as a server that prints into a closed pipe may stop.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Server {
    /// Waits for the line that says where the server is: `.. http://127.0.0.1:1234, ..`. Of our own environment only PATH reaches it.
    pub(crate) fn start(mut command: Command, folder: &Path, name: &str) -> anyhow::Result<Self> {
        let log = folder.join(name).with_extension("log");
        let process = Process::start(command.stdout(Stdio::piped()), folder, &log);
        let mut process = process.with_context(|| format!("{name} does not start"))?;
        let mut stdout = BufReader::new(process.0.stdout.take().context("stdout is piped")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let address =
            line.split("://").nth(1).and_then(|rest| rest.split([',', '/', ';']).next()).and_then(|text| text.trim().parse().ok());
        let said = || format!("{name} said {line:?} and {:?}", std::fs::read_to_string(&log).unwrap_or_default());
        Ok(Self { address: address.with_context(said)?, process, _stdout: Some(stdout) })
    }

    /// A server that receives its address, and does not print it.
    pub(crate) fn start_at(address: SocketAddr, mut command: Command, folder: &Path, name: &str) -> anyhow::Result<Self> {
        let log = folder.join(name).with_extension("log");
        let process = Process::start(command.stdout(Stdio::null()), folder, &log);
        Ok(Self { process: process.with_context(|| format!("{name} does not start"))?, address, _stdout: None })
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resident memory now, in kB.
    pub(crate) fn rss_kb(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// CPU time until now, in user and kernel mode.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
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

impl Process {
    fn start(command: &mut Command, folder: &Path, log: &Path) -> anyhow::Result<Self> {
        // Programs are looked for in the PATH that they will have.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.current_dir(folder).stdin(Stdio::null()).stderr(File::create(log)?);
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both only fail for one that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
