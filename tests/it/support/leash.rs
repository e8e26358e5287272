//! Child processes that end when this process ends, for whatever reason.
//!
//! A static is never dropped and a killed test drops nothing, so a child hangs on a pipe instead: a shell between it and us reads stdin, and
//! when that ends (we dropped it, or died), kills the child's process group and removes its folder. The group, since a program may be a
//! script around the real one, as Debian's chromium-headless-shell is.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const LEASH: &str = r#"
folder=$1; shift
trap : INT TERM HUP
setsid "$@" </dev/null &
child=$!
cat >/dev/null
kill -9 "-$child" "$child" 2>/dev/null
wait "$child" 2>/dev/null
rm -rf "$folder"
"#;

/// A process on a leash, with a folder of its own that goes with it.
#[derive(Debug)]
pub struct Leashed {
    shell: Child,
    log: PathBuf,
}

impl Leashed {
    /// Starts a program. Its output goes to `log` in `folder`, which is removed at the end.
    pub fn start(folder: &Path, program: &Path, args: &[String]) -> Self {
        let log = folder.join(format!("{}.log", program.file_name().expect("a program has a name").to_string_lossy()));
        let output = std::fs::File::create(&log).expect("the folder is ours");
        let shell = Command::new("sh")
            .args(["-c", LEASH, "leash"])
            .arg(folder)
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("sh is there");
        Self { shell, log }
    }

    /// The last lines of its output, for messages.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
