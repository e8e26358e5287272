//! A real Envoy of a test's own, with the configuration of `examples/envoy`: on a free port, in front of a test's server and service.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
};

use super::{find::neighbour, leash::Leashed, port::free_port, process::wait_until};

/// The example's configuration.
pub fn example() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy/envoy.yaml")).expect("it is there")
}

/// A running Envoy; ended when dropped.
#[derive(Debug)]
pub struct Envoy {
    pub address: SocketAddr,
    leash: Leashed,
}

impl Envoy {
    /// As in the example.
    pub fn start(server: SocketAddr, authz: SocketAddr) -> Self {
        Self::start_with(server, authz, |config| config)
    }

    /// With a configuration that differs from the example's. The user header stays, as if Envoy had set it.
    pub fn start_with(server: SocketAddr, authz: SocketAddr, change: impl FnOnce(String) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let ports = [(10_000, address), (9000, server), (9002, authz)];
        let config = ports.iter().fold(example(), |config, (from, to)| {
            let (from, to) = (format!("port_value: {from}}}"), format!("port_value: {}}}", to.port()));
            assert!(config.contains(&from), "the example has {from}");
            config.replace(&from, &to)
        });
        let config = change(config.replace("{remove: x-user}", "{remove: x-nothing}"));
        let file = folder.join("envoy.yaml");
        std::fs::write(&file, config).expect("the folder is ours");
        let args = ["-c", &file.display().to_string(), "--disable-hot-restart", "--concurrency", "1", "-l", "warn"].map(str::to_owned);
        let leash = Leashed::start(&folder, &neighbour("envoy"), &args);
        let mut is_there = false;
        wait_until("Envoy to listen", || {
            is_there = TcpStream::connect(address).is_ok();
            is_there || leash.log_tail().contains("error initializing")
        });
        assert!(is_there, "{}", leash.log_tail());
        Self { address, leash }
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        self.leash.log_tail()
    }
}
