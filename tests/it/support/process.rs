//! The binary under test as a process of a test's own; killed when dropped.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::time::{BETWEEN_LOOKS, LONGEST};

/// A running process, and what it said to stderr.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    log: Arc<Mutex<String>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("piped");
        let into = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.lock().expect("no panic while held").push_str(&format!("{line}\n"));
            }
        });
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout, log }
    }

    /// The next line of stdout, its end included; empty at the end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().expect("it is still read").read_line(&mut line).expect("utf-8");
        line
    }

    /// Nobody is interested in further lines.
    pub fn ignore_stdout(&mut self) {
        let mut stdout = self.stdout.take().expect("it is still read");
        thread::spawn(move || stdout.read_to_string(&mut String::new()));
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("no panic while held").clone()
    }

    /// Waits until the log has a text.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the log"), || self.log().contains(text));
    }

    /// Bytes of memory of its own: without files, and without what it only reserved.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs, on Linux");
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.expect("a number of kB") * 1024
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("kill is there");
        assert!(status.success(), "the process is gone: {}", self.log());
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until(&format!("the end of process {}", self.child.id()), || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Memory that it really has, in bytes.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs, on Linux");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        resident.expect("the kernel knows") * 1024
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }

    /// For a process that did not begin as it should.
    pub fn give_up(mut self, what: &str) -> ! {
        let status = self.child.wait();
        // Its last words may still be on their way through the pipe; if they are later, the panic lacks them.
        thread::sleep(10 * BETWEEN_LOOKS);
        panic!("{what} did not start ({status:?}): {}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until something holds, for at most [`LONGEST`]. Where other tasks of the test have to go on meanwhile, [`super::time::eventually`].
pub fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_within(LONGEST, what, holds);
}

/// The same for at most so long.
pub fn wait_within(longest: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + longest;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(BETWEEN_LOOKS);
    }
}
