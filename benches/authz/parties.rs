//! The parties as processes: Envoys with the example's configuration, and the service.

use std::{net::SocketAddr, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    find::neighbour,
    requests::Kind,
    servers::{KEYS, free_address, generous, resource, started, upstream},
    shared::server::Server,
};

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Alone,
    Local,
    Tollgate,
}

impl Party {
    pub(super) const ALL: [Self; 3] = [Self::Alone, Self::Local, Self::Tollgate];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Local => "local",
            Self::Tollgate => "tollgate",
        }
    }
}

/// All processes.
#[derive(Debug)]
pub(super) struct Parties {
    alone: Server,
    local: Server,
    known: Asked,
    anonymous: Asked,
    _upstream: Server,
}

/// A service, and the Envoy that asks it.
#[derive(Debug)]
struct Asked {
    service: Server,
    envoy: Server,
}

const EXAMPLE: &str = include_str!("../../examples/envoy/envoy.yaml");

/// One bucket that is never empty.
const LOCAL: &str = r#"
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: local
              token_bucket: {max_tokens: 1000000000, tokens_per_fill: 1000000000, fill_interval: 1s}
              filter_enabled: {default_value: {numerator: 100, denominator: HUNDRED}}
              filter_enforced: {default_value: {numerator: 100, denominator: HUNDRED}}
"#;

/// Where the filter is, in the example.
const FILTER: [&str; 2] = ["          # From here\n", "          # to here\n"];

impl Parties {
    pub(super) async fn start(folder: &Path, keys: &Value) -> anyhow::Result<Self> {
        let upstream = upstream(folder, keys).await?;
        let at = upstream.address();
        let resource = resource(&format!("http://{at}/{KEYS}"), &generous()).to_string().replace("\"bench\"", "\"demo\"");
        std::fs::write(folder.join("demo.json"), resource)?;
        let (before, rest) = EXAMPLE.split_once(FILTER[0]).context("the example marks its filter")?;
        let (_, after) = rest.split_once(FILTER[1]).context("the example marks its filter")?;
        let with = |filter: &str| format!("{before}{filter}{after}");
        Ok(Self {
            alone: envoy(folder, "alone", &with(""), at, at).await?,
            local: envoy(folder, "local", &with(LOCAL), at, at).await?,
            known: asked(folder, "known", at, &[]).await?,
            anonymous: asked(folder, "anonymous", at, &["--auth", "none"]).await?,
            _upstream: upstream,
        })
    }

    /// The Envoy of a party.
    pub(super) fn envoy(&self, party: Party, kind: Kind) -> &Server {
        match party {
            Party::Alone => &self.alone,
            Party::Local => &self.local,
            Party::Tollgate => &self.asked(kind).envoy,
        }
    }

    /// The service that it asks, if it does.
    pub(super) fn service(&self, party: Party, kind: Kind) -> Option<&Server> {
        (party == Party::Tollgate).then(|| &self.asked(kind).service)
    }

    fn asked(&self, kind: Kind) -> &Asked {
        if kind == Kind::Anonymous { &self.anonymous } else { &self.known }
    }
}

/// The real binary with its defaults, and an Envoy as in the example.
async fn asked(folder: &Path, name: &str, upstream: SocketAddr, args: &[&str]) -> anyhow::Result<Asked> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["authz", "-f", "demo.json", "--store", "memory", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
    let service = Server::start(command_with(command, args), folder, &format!("{name}-service"))?;
    let envoy = envoy(folder, name, EXAMPLE, upstream, service.address()).await?;
    Ok(Asked { service, envoy })
}

fn command_with(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

/// An Envoy of one worker.
async fn envoy(folder: &Path, name: &str, config: &str, upstream: SocketAddr, service: SocketAddr) -> anyhow::Result<Server> {
    let address = free_address()?;
    let ports = [(10_000, address), (9000, upstream), (9002, service)];
    let mut config = config.to_owned();
    for (from, to) in ports {
        let (from, to) = (format!("port_value: {from}}}"), format!("port_value: {}}}", to.port()));
        ensure!(config.contains(&from), "the example has {from}");
        config = config.replace(&from, &to);
    }
    let file = folder.join(name).with_extension("yaml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(neighbour("envoy"));
    command.arg("-c").arg(&file).args(["--disable-hot-restart", "--concurrency", "1", "-l", "error"]);
    started(command, folder, name, address).await
}
