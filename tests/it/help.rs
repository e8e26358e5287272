//! Help, manual pages, completions and `--version`: every example that is shown is run unchanged.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use time::OffsetDateTime;
use tollgate::certs::ensure_dev;

use crate::support::{
    apiserver::{Cluster, Judging, Names, crds},
    proxy::Proxy,
    redis,
    serve::{TOLLGATE, clean, command},
    terminal::Terminal,
};

fn tollgate(args: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let output = command(&folder).args(args).output().expect("the binary starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The commands that `tollgate --help` lists.
fn commands() -> Vec<String> {
    let help = tollgate(&["--help"]);
    let list = help.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list of commands");
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// The command lines under `Examples:`; what is indented further explains them.
fn examples(command: &str) -> Vec<String> {
    let help = tollgate(&[command, "--help"]);
    let examples = help.split("\nExamples:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    let examples = examples.unwrap_or_else(|| panic!("tollgate {command} --help has no examples"));
    examples.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))).map(str::to_owned).collect()
}

/// A folder and a cluster in which the examples do what they say.
struct Stage {
    home: TempDir,
    cluster: Cluster,
    redis: redis::Server,
    proxy: Proxy,
}

impl Stage {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let cluster = Cluster::start();
        cluster.install(crds(Judging::Yes, Names::Both));
        for folder in [".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions", ".kube"] {
            fs::create_dir_all(home.path().join(folder)).expect("made");
        }
        let kubeconfig = fs::read_to_string(cluster.kubeconfig()).expect("written");
        let kubeconfig = kubeconfig
            .replace("name: test, context", "name: kind-dev, context")
            .replace("current-context: test", "current-context: kind-dev");
        fs::write(home.path().join(".kube/config"), kubeconfig).expect("written");
        let copied = Command::new("cp").arg("-r").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")).arg(home.path()).status();
        assert!(copied.expect("cp is there").success());
        fs::copy(home.path().join("manifests/samples/good/mcpserver-global.yaml"), home.path().join("mcpserver.yaml")).expect("copied");
        fs::create_dir(home.path().join("servers")).expect("made");
        fs::copy(home.path().join("mcpserver.yaml"), home.path().join("servers/one.yaml")).expect("copied");
        cluster.kubectl(&["create", "namespace", "tollgate-demo"]).expect_ok();
        cluster.kubectl(&["create", "namespace", "tollgate-system"]).expect_ok();
        cluster.kubectl(&["create", "secret", "generic", "tollgate-certs", "-n", "tollgate-system"]).expect_ok();
        cluster.kubectl(&["apply", "-f", &home.path().join("mcpserver.yaml").display().to_string()]).expect_ok();
        ensure_dev(home.path(), &["localhost".to_owned()], OffsetDateTime::now_utc()).expect("tls.crt and tls.key");
        let redis = tokio::runtime::Runtime::new().expect("a runtime").block_on(redis::Server::start());
        let resource = fs::read_to_string(home.path().join("mcpserver.yaml")).expect("copied");
        let proxy = Proxy::start("http://127.0.0.1:1", &resource, &["--store", "memory"]);
        Self { home, cluster, redis, proxy }
    }

    /// A shell at home, with the binary and kubectl in its path.
    fn shell(&self, line: &str) -> Command {
        let kubectl = self.cluster.kubectl_command();
        let folders =
            [Path::new(TOLLGATE), Path::new(kubectl.get_program())].map(|file| file.parent().expect("in a folder").display().to_string());
        let path = format!("{}:{}:{}", folders[0], folders[1], std::env::var("PATH").unwrap_or_default());
        let mut shell = clean("sh", &self.home);
        // Services read variables; the others are given what runs here.
        let line = match line {
            _ if line.contains("tollgate top") && !line.contains(" -f ") => format!("{line} --proxy http://{}", self.proxy.metrics),
            _ if line.contains("tollgate top") || line.contains("tollgate limits") => format!("{line} --redis-url {}", self.redis.url()),
            _ => line.to_owned(),
        };
        shell.args(["-c", &line]).env("HOME", self.home.path()).env("PATH", path);
        // The examples' own ports belong to whoever runs them.
        shell.env("TOLLGATE_LISTEN", "127.0.0.1:0").env("TOLLGATE_METRICS_LISTEN", "127.0.0.1:0");
        shell.env("TOLLGATE_REDIS_URL", self.redis.url());
        shell
    }

    fn run(&self, line: &str) -> Output {
        self.shell(line).output().expect("sh is there")
    }

    /// Runs what serves until it says where, then ends it.
    fn serve(&self, line: &str) -> Result<(), String> {
        let mut child = self.shell(&format!("exec {line}")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh is there");
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut greeting).expect("text");
        if greeting.contains("https://") || greeting.contains("http://") {
            let _ = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
        }
        let output = child.wait_with_output().expect("it ends");
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    /// Runs what takes the whole terminal until something is on it, then quits.
    fn show(&self, line: &str) -> Result<(), String> {
        let mut terminal = Terminal::start(&self.shell(&format!("exec {line}")));
        terminal.wait_for("every bucket is full");
        terminal.press("q");
        if terminal.wait().success() { Ok(()) } else { Err(terminal.text()) }
    }
}

/// Commands that run until they are told to stop.
const SERVES: [&str; 3] = ["serve", "proxy", "authz"];

/// A flag that makes another command one of them.
const STAYS: &str = " --watch";

#[test]
fn every_example_runs() {
    let stage = Stage::new();
    let (mut wrong, mut ran) = (String::new(), 0);
    for command in commands() {
        for line in examples(&command) {
            ran += 1;
            let failure = if SERVES.contains(&command.as_str()) || line.contains(STAYS) {
                stage.serve(&line).err()
            } else if command == "top" && !line.contains(" --once") {
                stage.show(&line).err()
            } else {
                let output = stage.run(&line);
                // Findings (1) are an answer; 2 is not.
                let answered = matches!(output.status.code(), Some(0 | 1));
                (!answered).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
            };
            wrong.extend(failure.map(|error| format!("$ {line}\n{error}\n")));
        }
    }
    assert!(wrong.is_empty(), "examples of --help that do not run (what they need belongs into Stage):\n{wrong}");
    assert!(ran >= 10, "only {ran} examples");
}

#[test]
fn every_command_tells_its_exit_codes() {
    for command in commands() {
        let help = tollgate(&[&command, "--help"]);
        assert!(help.contains("\nExit codes: 0 "), "tollgate {command} --help tells no exit codes");
    }
}

#[test]
fn a_manual_page_for_each_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("man1");
    tollgate(&["man", "--dir", &dir.display().to_string()]);
    for command in commands() {
        let page = fs::read_to_string(dir.join(format!("tollgate-{command}.1"))).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert_eq!(page, tollgate(&["man", &command]), "{command}");
        assert!(page.contains(&format!(".TH tollgate-{command} 1 \"\" \"tollgate {}\"\n", env!("CARGO_PKG_VERSION"))), "{page}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT CODES"] {
            let heading = [format!(".SH {section}\n"), format!(".SH \"{section}\"\n")];
            assert!(heading.iter().any(|heading| page.contains(heading)), "tollgate-{command}.1 has no {section}:\n{page}");
        }
        for line in examples(&command) {
            // Troff's own characters are escaped.
            let reported = line.split('-').next().expect("split yields one").trim();
            assert!(page.contains(reported), "tollgate-{command}.1 lacks the example {line}");
        }
    }
    assert_eq!(fs::read_to_string(dir.join("tollgate.1")).expect("written"), tollgate(&["man"]));
    assert_eq!(fs::read_to_string(dir.join("tollgate-limits-ls.1")).expect("written"), tollgate(&["man", "limits", "ls"]));
    let check = tollgate(&["man", "check"]);
    assert!(check.contains("\n.SH NOTES\n\\&.tollgate.toml") && check.contains("exclude = ["), "notes are whole: {check}");
    let output = Command::new(TOLLGATE).args(["man", "sevre"]).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unknown command sevre"), "{output:?}");
}

#[test]
fn bash_completes_commands_and_values() {
    let script = tollgate(&["completions", "bash"]);
    let completes = |words: &str, index: usize| {
        let line = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD={index}; _tollgate tollgate \"${{COMP_WORDS[{index}]}}\" \"${{COMP_WORDS[{}]}}\"; echo \"${{COMPREPLY[@]}}\"",
            index - 1
        );
        let output = Command::new("bash").args(["-c", &line]).output().expect("bash is there");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    assert_eq!(completes("tollgate ser", 1), "serve");
    assert_eq!(completes("tollgate crds --kind ''", 3), "MCPServer VirtualMCPServer");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(tollgate(&["completions", shell]).contains("shared-alias"), "{shell}");
    }
}

#[test]
fn version_tells_commit_and_features() {
    assert_eq!(tollgate(&["-V"]), format!("tollgate {}\n", env!("CARGO_PKG_VERSION")));
    let long = tollgate(&["--version"]);
    let lines: Vec<_> = long.lines().collect();
    let commit = option_env!("TOLLGATE_COMMIT").filter(|commit| !commit.is_empty()).unwrap_or("unknown");
    assert_eq!(lines[0], format!("tollgate {}", env!("CARGO_PKG_VERSION")));
    assert_eq!(lines[1], format!("commit: {commit}"));
    assert!(lines[2].starts_with("features: ") && lines[2].contains("webhook"), "{long}");
}
