//! The examples, as their readers run them.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// An example that listens; killed when dropped.
#[derive(Debug)]
pub struct Example {
    child: Child,
    pub address: SocketAddr,
}

impl Example {
    /// Starts it, and reads the address from the line that it greets with.
    pub fn start(name: &str, args: &[&str]) -> Self {
        let mut child =
            Command::new(program(name)).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the example starts");
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut greeting).expect("UTF-8");
        let address = greeting.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        Self { child, address: address.unwrap_or_else(|| panic!("{name} greets with {greeting:?}")) }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an example prints that ends by itself.
pub fn output(name: &str, args: &[&str]) -> String {
    let output = Command::new(program(name)).args(args).stdin(Stdio::null()).output().expect("the example starts");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Where cargo puts it: it builds examples with the tests, unless told to build some tests only.
fn program(name: &str) -> PathBuf {
    let test = env::current_exe().expect("this program");
    let program = test.ancestors().nth(2).expect("in deps, in the target folder").join("examples").join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    assert!(changed(&program) >= changed(&source), "{} is missing or old: run `cargo build --examples`", program.display());
    program
}
