//! Other languages' JSON parsers, asked which tools a body calls: one process each, a line in, a line out.
//!
//! They end when their input does, which is at the latest when this process ends.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::find::neighbour;

/// The tools that a body calls to one reader, in order; `None` for a name that is no string.
pub type Reading = Vec<Option<String>>;

/// A parser of another language.
#[derive(Debug)]
pub struct Parser {
    pub language: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _folder: Option<TempDir>,
}

impl Parser {
    /// Python's `json`, with several hooks.
    pub fn python() -> Self {
        Self::start("python3", Command::new(neighbour("python3")).args(["-I", "-S"]).arg(source("reads.py")), None)
    }

    /// Node's `JSON.parse`.
    pub fn node() -> Self {
        Self::start("node", Command::new(neighbour("node")).arg(source("reads.js")), None)
    }

    /// Go's `encoding/json`. Built here, which takes a second or two.
    pub fn go() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("reads");
        let built = Command::new(neighbour("go"))
            .args(["build", "-o"])
            .args([&program, &source("reads.go")])
            .current_dir(folder.path())
            .env("GOFLAGS", "")
            .output()
            .expect("go runs");
        assert!(built.status.success(), "go build: {}", String::from_utf8_lossy(&built.stderr));
        Self::start("go", &mut Command::new(program), Some(folder))
    }

    fn start(language: &'static str, command: &mut Command, folder: Option<TempDir>) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the parser starts");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { language, child, input, output: BufReader::new(output), _folder: folder }
    }

    /// What its readers make of a body; those to whom it is no JSON are left out.
    pub fn readings(&mut self, body: &[u8]) -> Vec<Reading> {
        let mut line = body.iter().fold(String::new(), |mut line, byte| {
            write!(line, "{byte:02x}").expect("writing to a string");
            line
        });
        line.push('\n');
        self.input.write_all(line.as_bytes()).expect("the parser runs");
        self.input.flush().expect("the parser runs");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("UTF-8");
        let readings: Vec<Option<Reading>> =
            serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{} answers {answer:?}: {error}", self.language));
        readings.into_iter().flatten().collect()
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/neighbours/parsers").join(name)
}

/// The same of serde_json, here.
pub fn serde_reading(body: &[u8]) -> Option<Reading> {
    let messages = match serde_json::from_slice(body).ok()? {
        Value::Array(messages) => messages,
        message => vec![message],
    };
    let calls = messages.iter().filter(|message| message["method"] == "tools/call");
    Some(calls.map(|call| serde_tool(&call["params"])).collect())
}

fn serde_tool(params: &Value) -> Option<String> {
    let name = params["name"].as_str()?;
    let arguments = &params["arguments"];
    let places = [&arguments["tool_name"], &arguments["parameters"]["tool_name"], &arguments["name"]];
    let inner = places.into_iter().filter_map(Value::as_str).find(|inner| !inner.is_empty() && name == "call_tool");
    Some(inner.unwrap_or(name).to_owned())
}
