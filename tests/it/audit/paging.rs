//! A long listing: the line that reports progress, a token that expires, an end by Ctrl-C.

use std::{
    io::{BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    check::Ran,
    support::{
        api::Api,
        serve::{TOLLGATE, clean},
    },
};

/// A page of one server that says `shared`, and the token of the next.
fn page(name: &str, token: &str) -> (u16, Value) {
    let server = json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer", "metadata": {"name": name, "namespace": "demo"},
        "spec": {
            "sessionStorage": {"provider": "redis", "address": "redis:6379"},
            "rateLimiting": {"shared": {"maxTokens": 1, "refillPeriod": "1s"}},
        },
    });
    (200, json!({"metadata": {"continue": token}, "items": [server]}))
}

/// The answers that are the same for all; none to a list of servers.
fn around(path: &str) -> Option<(u16, Value)> {
    if path == "/apis/toolhive.stacklok.dev" {
        return Some((200, json!({"versions": [{"version": "v1beta1"}]})));
    }
    (!path.contains("/mcpservers?")).then(|| (200, json!({"metadata": {}, "items": []})))
}

fn expired(token: Option<&str>) -> (u16, Value) {
    let metadata = token.map_or(json!({}), |token| json!({"continue": token}));
    let message = "The provided continue parameter is too old to display a consistent list result.";
    (410, json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": message, "metadata": metadata}))
}

fn audit(api: &Api, args: &[&str]) -> Ran {
    let mut command = Command::new(TOLLGATE);
    command.args(["audit", "--chunk-size", "1", "--kubeconfig"]).arg(api.kubeconfig()).args(args);
    Ran::of(command.output().expect("the binary starts"))
}

#[test]
fn an_expired_token_is_changed_for_the_one_that_goes_on() {
    let api = Api::start(|path| {
        around(path).unwrap_or_else(|| match path.split_once("&continue=") {
            None => page("first", "old"),
            Some((_, "old")) => expired(Some("new")),
            Some((_, "new")) => page("second", ""),
            Some((_, other)) => panic!("nobody was given the token {other}"),
        })
    });
    let ran = audit(&api, &["--output", "json"]);
    let names: Vec<_> = [0, 1].map(|at| ran.json()["findings"][at]["object"]["name"].clone()).into();
    assert_eq!((ran.code, names), (0, vec![json!("first"), json!("second")]), "{ran:?}");
    assert_eq!(ran.json()["summary"]["judged"], 2, "each once");
}

#[test]
fn a_list_that_cannot_go_on_is_told_and_what_came_before_stays() {
    let api =
        Api::start(|path| around(path).unwrap_or_else(|| if path.contains("&continue=") { expired(None) } else { page("first", "old") }));
    let ran = audit(&api, &[]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stdout.contains("demo/first") && ran.stdout.contains("1 checked"), "{}", ran.stdout);
    assert!(ran.stdout.contains("cannot list mcpservers: ") && ran.stdout.contains("too old"), "{}", ran.stdout);
}

/// An audit on a terminal of its own, which `script` gives it.
struct OnTerminal {
    script: Child,
    shown: mpsc::Receiver<u8>,
    said: String,
}

impl OnTerminal {
    fn start(api: &Api) -> Self {
        let line = format!("{TOLLGATE} audit --chunk-size 1 --kubeconfig {}", api.kubeconfig().display());
        let mut script = clean("script", &tempfile::tempdir().expect("a folder"));
        script.args(["-qec", &line, "/dev/null"]).current_dir(Path::new("/")).env("NO_COLOR", "1").env("TERM", "xterm");
        let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script is there");
        let (tell, shown) = mpsc::channel();
        let stdout = script.stdout.take().expect("piped");
        thread::spawn(move || BufReader::new(stdout).bytes().map_while(Result::ok).try_for_each(|byte| tell.send(byte)));
        Self { script, shown, said: String::new() }
    }

    fn wait_for(&mut self, text: &str) {
        while !self.said.contains(text) {
            let byte = self.shown.recv_timeout(Duration::from_secs(60));
            self.said.push(byte.unwrap_or_else(|error| panic!("{error}: no {text:?} in {:?}", self.said)).into());
        }
    }

    /// The exit code, and what the terminal shows at the end.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.script.wait().expect("it ends").code();
        self.said.extend(self.shown.iter().map(char::from));
        let line = |line: &str| line.rsplit("\r\x1b[K").next().unwrap_or_default().trim_end_matches('\r').to_owned();
        (code, self.said.split('\n').map(line).collect::<Vec<_>>().join("\n"))
    }
}

#[test]
fn a_terminal_shows_how_far_it_is_and_is_left_clean() {
    let enough = Arc::new(AtomicBool::new(false));
    let is_enough = enough.clone();
    let api =
        Api::start(move |path| around(path).unwrap_or_else(|| page("a", if is_enough.load(Ordering::Relaxed) { "" } else { "more" })));
    let mut terminal = OnTerminal::start(&api);
    terminal.wait_for(" checked, reading mcpservers ...");
    enough.store(true, Ordering::Relaxed);
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("reading") && !screen.contains('\x1b'), "{screen}");
    assert!(screen.starts_with("warning[TG101]: ") && screen.trim_end().ends_with(" warnings"), "{screen}");
}

#[test]
fn ctrl_c_ends_it_at_once_and_what_was_found_is_there() {
    let (asked, was_asked) = mpsc::channel();
    let api = Api::start(move |path| {
        around(path).unwrap_or_else(|| {
            if !path.contains("&continue=") {
                return page("first", "more");
            }
            asked.send(()).expect("the test waits");
            // An API server that never answers.
            loop {
                thread::park();
            }
        })
    });
    let mut terminal = OnTerminal::start(&api);
    was_asked.recv_timeout(Duration::from_secs(60)).expect("the second page is asked for");
    terminal.script.stdin.as_mut().expect("piped").write_all(b"\x03").expect("it reads");
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(128 + 2), "by SIGINT, as a shell tells it: {screen}");
    assert!(screen.contains("MCPServer demo/first"), "{screen}");
}
