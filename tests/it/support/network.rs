//! A network of a test's own, in which a whole range of addresses is this machine's: pods get one each, all with the same ports.

use std::{env, net::Ipv4Addr, process::Command};

/// Set in the process that runs in there.
const INSIDE: &str = "TOLLGATE_TEST_INSIDE";

/// An address of the range.
pub const fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, last)
}

/// Runs a test, which is the one that calls this, in a process of its own with such a network. It needs neither root nor a bridge, since
/// nothing leaves the machine.
///
/// # Panics
/// When the test fails there, or when there can be no such network.
pub fn inside(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let script = r#"ip link set lo up && ip route add local 10.244.0.0/16 dev lo && exec "$@""#;
    let own = env::current_exe().expect("the test binary has a path");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "sh", "-ec", script, "sh"]).arg(own).args([
        "--exact",
        test,
        "--include-ignored",
        "--nocapture",
    ]);
    let status = command.env(INSIDE, "1").status().expect("unshare is there");
    assert!(status.success(), "{test} failed in its own network, or unshare and ip could not make one: see above");
}
