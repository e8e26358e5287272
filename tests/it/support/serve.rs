//! A real `tollgate serve` of a test's own, on free ports, with certificates of its own.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The binary under test.
pub const TOLLGATE: &str = env!("CARGO_BIN_EXE_tollgate");

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Serve {
    child: Child,
    /// Its working directory; development certificates are under `certs/dev`.
    pub folder: TempDir,
    pub address: SocketAddr,
    pub metrics: SocketAddr,
    /// Everything printed to stdout before it served.
    pub greeting: String,
    log: Arc<Mutex<String>>,
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

    fn launch(folder: TempDir, listen: &str, args: &[&str]) -> Self {
        let mut child = command(&folder)
            .args(["serve", "--listen", listen, "--metrics-listen", "127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("piped");
        let into = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.lock().expect("no panic while held").push_str(&format!("{line}\n"));
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut greeting = String::new();
        stdout.read_line(&mut greeting).expect("utf-8");
        let address_after = |mark: &str| {
            let rest = greeting.split(mark).nth(1)?;
            rest.split([',', '/', '\n']).next()?.parse::<SocketAddr>().ok()
        };
        let (Some(address), Some(metrics)) = (address_after("https://"), address_after("http://")) else {
            let status = child.wait();
            thread::sleep(Duration::from_millis(100));
            panic!("tollgate serve did not start ({status:?}): {}", log.lock().expect("no panic while held"));
        };
        if greeting.len() > 1 && !args.contains(&"--tls-cert") {
            for _ in 0..10 {
                stdout.read_line(&mut greeting).expect("utf-8");
            }
        }
        thread::spawn(move || stdout.read_to_string(&mut String::new()));
        Self { child, folder, address, metrics, greeting, log }
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

    pub fn log(&self) -> String {
        self.log.lock().expect("no panic while held").clone()
    }

    /// Waits until the log has a text.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the log"), || self.log().contains(text));
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("kill is there");
        assert!(status.success(), "the server is gone: {}", self.log());
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary in a folder, without the environment's own `TOLLGATE_` settings.
pub fn command(folder: &TempDir) -> Command {
    clean(TOLLGATE, folder)
}

/// The same for any program.
pub fn clean(program: &str, folder: &TempDir) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder.path()).stdin(Stdio::null()).env_remove("KUBERNETES_SERVICE_HOST");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOLLGATE_")) {
        command.env_remove(name);
    }
    command
}

/// Polls until something holds, for at most 30 s.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
