//! Clients and servers on MCP's official SDKs, which `tests/neighbours/setup.sh` gets; `tests/neighbours/sdks/README.md` says what they do.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use super::{
    find::{installed, neighbour, version},
    leash::Leashed,
    port::free_port,
};
use crate::support::process::wait_until;

/// What a client went through: a line that it prints.
#[derive(Debug, Deserialize)]
pub struct Report {
    pub revision: Option<String>,
    pub tools: Vec<String>,
    pub calls: u32,
    pub error: Option<String>,
    pub wait: Option<f64>,
    pub place: Option<String>,
    pub alive: bool,
    pub again: bool,
}

/// An SDK whose client is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Python1,
    Python2,
    TypeScript1,
    TypeScript2,
    Go,
    Rust,
}

/// An SDK's server, and how it answers calls.
#[derive(Clone, Copy, Debug)]
pub enum Server {
    Python1Json,
    Python1Sse,
    /// The older HTTP+SSE.
    Python1Older,
    Python2Sse,
    Rust,
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    pub url: String,
    _leash: Leashed,
}

impl Client {
    pub const ALL: [Self; 6] = [Self::Python1, Self::Python2, Self::TypeScript1, Self::TypeScript2, Self::Go, Self::Rust];

    /// As users know it, with the version that is tried.
    pub fn title(self) -> String {
        let (name, variable) = match self {
            Self::Python1 => ("Python `mcp`", "MCP_PYTHON_1_VERSION"),
            Self::Python2 => ("Python `mcp`", "MCP_PYTHON_2_VERSION"),
            Self::TypeScript1 => ("TypeScript `@modelcontextprotocol/sdk`", "MCP_TYPESCRIPT_1_VERSION"),
            Self::TypeScript2 => ("TypeScript `@modelcontextprotocol/client`", "MCP_TYPESCRIPT_2_VERSION"),
            Self::Go => ("Go `modelcontextprotocol/go-sdk`", "MCP_GO_VERSION"),
            Self::Rust => ("Rust `rmcp`", "RMCP_VERSION"),
        };
        format!("{name} {}", version(variable).trim_start_matches('v'))
    }

    /// Goes through its session.
    ///
    /// # Panics
    /// When it is not there, or does not come to its end.
    pub fn run(self, url: &str) -> Report {
        report(&mut self.command(url))
    }

    fn command(self, url: &str) -> Command {
        let (program, args) = match self {
            Self::Python1 => (python("1"), vec![script("python1.py")]),
            Self::Python2 => (python("2"), vec![script("python2.py")]),
            Self::TypeScript1 | Self::TypeScript2 => (neighbour("node"), vec![script("typescript.cjs")]),
            Self::Go => (installed("mcp-go", "MCP_GO_VERSION", "client"), vec![]),
            Self::Rust => (rmcp(), vec!["client".into()]),
        };
        let mut command = Command::new(program);
        // Nothing is left in the repository.
        command.args(args).arg(url).env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some((variable, package)) = self.package() {
            let folder = installed("mcp-typescript", variable, "node_modules");
            command.arg(folder.parent().expect("it is in a folder")).arg(package);
        }
        command
    }

    fn package(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::TypeScript1 => Some(("MCP_TYPESCRIPT_1_VERSION", "@modelcontextprotocol/sdk")),
            Self::TypeScript2 => Some(("MCP_TYPESCRIPT_2_VERSION", "@modelcontextprotocol/client")),
            _ => None,
        }
    }
}

/// Starts a server that is its own OAuth server, which clients reach at this origin.
pub fn start_oauth(port: u16, origin: &str) -> Running {
    listening(&python("1"), vec![script("server1_oauth.py"), port.to_string().into(), origin.into()])
}

/// Signs in there, and goes through its session.
pub fn run_oauth(url: &str) -> Report {
    let mut command = Command::new(python("1"));
    command.arg(script("python1_oauth.py")).arg(url).env("PYTHONDONTWRITEBYTECODE", "1");
    report(&mut command)
}

fn report(command: &mut Command) -> Report {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let report = printed.lines().find_map(|line| serde_json::from_str(line).ok());
    let report: Report = report.unwrap_or_else(|| panic!("{command:?} says {printed:?}, and {}", String::from_utf8_lossy(&output.stderr)));
    assert!(report.revision.is_some(), "no session: {}", String::from_utf8_lossy(&output.stderr));
    report
}

fn listening(program: &Path, args: Vec<PathBuf>) -> Running {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let args: Vec<_> = args.into_iter().map(|arg: PathBuf| arg.display().to_string()).collect();
    let leash = Leashed::start(&folder, program, &args);
    let mut found = None;
    wait_until(&format!("{program:?} to listen"), || {
        let url = leash.log_tail().lines().find(|line| line.starts_with("http://")).map(str::to_owned);
        let address = url.as_deref().and_then(|url| url.strip_prefix("http://")?.split('/').next());
        found = url.clone().filter(|_| address.is_some_and(|address| TcpStream::connect(address).is_ok()));
        found.is_some()
    });
    Running { url: found.expect("it listens"), _leash: leash }
}

impl Server {
    /// Starts it, and waits until it listens.
    pub fn start(self) -> Running {
        let port = free_port().to_string();
        let (program, args) = match self {
            Self::Python1Json => (python("1"), vec![script("server1.py"), port.into(), "json".into()]),
            Self::Python1Sse => (python("1"), vec![script("server1.py"), port.into(), "sse".into()]),
            Self::Python1Older => (python("1"), vec![script("server1.py"), port.into(), "older".into()]),
            Self::Python2Sse => (python("2"), vec![script("server2.py"), port.into(), "sse".into()]),
            Self::Rust => (rmcp(), vec!["server".into()]),
        };
        listening(&program, args)
    }
}

/// The interpreter that has an SDK of this major version.
pub fn python(major: &str) -> PathBuf {
    installed("mcp-python", &format!("MCP_PYTHON_{major}_VERSION"), "bin/python")
}

fn rmcp() -> PathBuf {
    installed("rmcp", "RMCP_VERSION", "rmcp-neighbour")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/neighbours/sdks").join(name)
}
