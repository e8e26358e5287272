//! A server from its start to its end: what it prints, health, metrics, logs, signals, and starts that fail.

mod clusters;
mod ends;
mod starts;
mod watched;

use std::process::{Output, Stdio};

use tempfile::TempDir;

use crate::support::process::wait_until;
use crate::support::serve::command;

/// Runs the binary to its end, which has to come by itself.
fn run(folder: &TempDir, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut child = command(folder)
        .args(args)
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    wait_until(&format!("the end of {args:?}"), || child.try_wait().expect("it is our child").is_some());
    child.wait_with_output().expect("it has ended")
}

/// What `tollgate serve` says on stderr when it does not start, with exit code 2 and nothing on stdout.
pub fn refusal(folder: &TempDir, args: &[&str]) -> String {
    refusal_with(folder, args, &[])
}

fn refusal_with(folder: &TempDir, args: &[&str], environment: &[(&str, &str)]) -> String {
    let free_ports: &[_] = match args {
        [] => &[],
        _ if args.contains(&"--listen") => &["--metrics-listen", "127.0.0.1:0"],
        _ if args.contains(&"--metrics-listen") => &["--listen", "127.0.0.1:0"],
        _ => &["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"],
    };
    let output = run(folder, &[&["serve"], args, free_ports].concat(), environment);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stdout} {stderr}");
    assert_eq!(stdout, "", "{args:?}");
    stderr.into_owned()
}
