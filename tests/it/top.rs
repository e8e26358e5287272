//! `tollgate top`, of a real proxy and of a real Redis, as a text and on a terminal.

use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    proxy::{ask, bucket, call, resource},
    support::{
        https::get,
        link::{Flow, Link},
        pages::Page,
        port::free_port,
        process::wait_until,
        proxy::Proxy,
        redis::Server,
        serve::command,
        terminal::Terminal,
        upstream::Upstream,
    },
};

/// A proxy of which alice has called as often as she may, and once more.
struct Scene {
    folder: TempDir,
    proxy: Proxy,
    _upstream: Upstream,
}

impl Scene {
    async fn start() -> Self {
        let (folder, upstream) = (tempfile::tempdir().expect("a folder"), Upstream::start().await);
        let limits = resource(json!({"global": bucket(10), "tools": [{"name": "search", "perUser": bucket(2)}]}));
        std::fs::write(folder.path().join("server.yaml"), &limits).expect("the folder is ours");
        let proxy =
            Proxy::start(&upstream.url(), &limits, &["--store", "memory", "--user-header", "X-User", "--user-header-from", "loopback"]);
        for id in 1..=3 {
            ask(&proxy, &[("x-user", "alice")], call(id, "search")).await;
        }
        Self { folder, proxy, _upstream: upstream }
    }

    fn url(&self) -> String {
        format!("http://{}", self.proxy.metrics)
    }

    fn run(&self, args: &[&str]) -> Output {
        command(&self.folder).arg("top").args(args).output().expect("the binary starts")
    }

    fn reported(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn on_a_terminal(&self, url: &str, envs: &[(&str, &str)]) -> Terminal {
        let mut top = command(&self.folder);
        top.args(["top", "--interval", "200ms", "--proxy", url]).env_remove("NO_COLOR").envs(envs.iter().copied());
        Terminal::start(&top)
    }
}

/// The digest by which this proxy tells of its one user; its key is the process' own.
async fn digest(proxy: &Proxy) -> String {
    let reported = get(proxy.metrics, "/buckets").await.json();
    reported["buckets"].as_array().expect("buckets").iter().find_map(|bucket| bucket["user"].as_str()).expect("a user").to_owned()
}

/// Times pass.
fn without_times(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let (time, end) = word.split_once('\n').map_or((word, ""), |(time, end)| (time, end));
        let is_time = time.starts_with(|char: char| char.is_ascii_digit()) && time.ends_with(['s', 'm']);
        if is_time { format!("TIME{}{end}", if word.contains('\n') { "\n" } else { "" }) } else { word.to_owned() }
    });
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn once_is_what_the_docs_show() {
    let scene = Scene::start().await;
    let reported = scene.reported(&["--once", "--proxy", &scene.url()]);
    let shown = Page::read("docs/proxy.md").shown_below("$ tollgate top --once\n");
    // Any other proxy has another digest.
    let reported = reported.replace(&digest(&scene.proxy).await, "hmac:6a8851c590dd");
    assert_eq!(without_times(reported.trim_end()), without_times(&shown), "docs/proxy.md should say\n{reported}");

    let reported: Value = serde_json::from_str(&scene.reported(&["--once", "--output", "json", "--proxy", &scene.url()])).expect("JSON");
    assert_eq!(reported["buckets"][1]["user"], digest(&scene.proxy).await, "{reported}");
    let search = json!({"limit": "tools[search].perUser", "allowed": 2, "denied": 1});
    assert_eq!(reported["totals"]["limits"][1], search, "{reported}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_names_users_and_counts_no_calls() {
    let (scene, redis, upstream) = (Scene::start().await, Server::start().await, Upstream::start().await);
    let limits = std::fs::read_to_string(scene.folder.path().join("server.yaml")).expect("written");
    let proxy =
        Proxy::start(&upstream.url(), &limits, &["--redis-url", &redis.url(), "--user-header", "X-User", "--user-header-from", "loopback"]);
    ask(&proxy, &[("x-user", "alice\u{9b}2J")], call(1, "search")).await;
    let url = redis.url();
    let args = ["--once", "-f", "server.yaml", "--redis-url", &url];
    let reported = scene.reported(&args);
    assert!(reported.starts_with("default/demo, counted in redis\n\nLIMIT "), "{reported}");
    let row = reported.lines().find(|line| line.starts_with("tools[search].perUser")).expect("a row");
    assert!(row.contains("  alice\u{fffd}2J  1 of 2  "), "{reported:?}");
    assert!(!reported.contains("ALLOWED") && !reported.contains('\u{9b}'), "{reported:?}");
    let reported: Value = serde_json::from_str(&scene.reported(&[&args[..], &["-o", "json"]].concat())).expect("JSON");
    let listed = command(&scene.folder).args(["limits", "ls", "-o", "json", "-f", "server.yaml", "--redis-url", &url]).output();
    let listed: Value = serde_json::from_slice(&listed.expect("the binary starts").stdout).expect("JSON");
    let keys =
        |reported: &Value| reported["buckets"].as_array().map(|buckets| buckets.iter().map(|of| of["key"].clone()).collect::<Vec<_>>());
    assert_eq!((keys(&reported).map(|keys| keys.len()), keys(&reported)), (Some(2), keys(&listed)), "the same shape");
    assert_eq!(reported.get("totals"), None);

    let mut top = command(&scene.folder);
    top.args(["top", "--interval", "200ms", "-f", "server.yaml", "--redis-url", &url]);
    let mut terminal = Terminal::start(&top);
    terminal.wait_for("1 of 2");
    ask(&proxy, &[("x-user", "bob")], call(2, "search")).await;
    terminal.wait_for("bob");
    redis.kill();
    terminal.wait_for("nothing new for ");
    assert!(terminal.text().contains("1 of 2"), "what was seen stays");
    redis.restart().await;
    terminal.wait_for_that("no trouble", |shown| !shown.contains("nothing new for"));
    terminal.wait_for("every bucket is full");
    terminal.press("\x03");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.assert_restored();
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_told_with_its_exit_code() {
    let scene = Scene::start().await;
    let (nobody, upstream) = (format!("http://127.0.0.1:{}", free_port()), Upstream::start().await);
    let other = upstream.url();
    let redis = nobody.replace("http", "redis");
    std::fs::write(scene.folder.path().join("bad.yaml"), resource(json!({"global": {"maxTokens": 0, "refillPeriod": "1m"}})))
        .expect("ours");
    let url = scene.url();
    let refused = format!("cannot reach {nobody}/buckets");
    for (args, code, reported) in [
        (&["--once", "--proxy", &nobody][..], 2, refused.as_str()),
        (&["--once", "--proxy", &other], 2, "it is not the metrics listener of a tollgate proxy"),
        (&["--once", "--proxy", "127.0.0.1:9080"], 2, "write http://HOST:PORT"),
        (&["--once", "-f", "server.yaml", "--redis-url", &redis], 2, "the store cannot be inspected"),
        (&["--once", "-f", "bad.yaml"], 1, "TG006 spec.rateLimiting.global.maxTokens"),
        (&["--once", "-f", "gone.yaml"], 2, "cannot read gone.yaml"),
        (&["--once", "--redis-url", &redis], 2, "--redis-url needs -f FILE"),
        (&["--once", "-f", "server.yaml", "--proxy", &url], 2, "cannot be used with"),
        (&["--once", "--interval", "1ms", "--proxy", &url], 2, "--interval: at least 100ms"),
        (&["--output", "json", "--proxy", &url], 2, "--once"),
        (&["--proxy", &url], 2, "stdout is not a terminal: add --once"),
    ] {
        let output = scene.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(reported), "{args:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cannot_look_is_told_as_such() {
    let (scene, redis, upstream) = (Scene::start().await, Server::start().await, Upstream::start().await);
    let proxy = Proxy::start(&upstream.url(), &resource(json!({"global": bucket(9)})), &["--redis-url", &redis.url()]);
    redis.kill();
    let output = scene.run(&["--once", "--proxy", &format!("http://{}", proxy.metrics)]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("the proxy at {} cannot show the buckets: the store cannot be reached", proxy.metrics)), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_shows_who_denies_and_is_given_back() {
    let scene = Scene::start().await;
    let mut terminal = scene.on_a_terminal(&scene.url(), &[]);
    let row = format!("tools[search].perUser  {}  ░░░░░░░░░░  0 of 2", digest(&scene.proxy).await);
    terminal.wait_for(&row);
    terminal.wait_for("2 allowed, 1 denied");
    ask(&scene.proxy, &[("x-user", "alice")], call(4, "search")).await;
    terminal.wait_for("2 allowed, 2 denied");
    let rows = terminal.text().lines().skip(3).map(str::to_owned).collect::<Vec<_>>();
    assert!(rows[0].starts_with("tools[search]") && rows[1].starts_with("global"), "who denies is first: {rows:?}");
    terminal.press("/glo\r");
    terminal.wait_for("1 not full with \"glo\"");
    terminal.resize(6, 50);
    terminal.wait_for_that("no gauge", |shown| shown.contains("8 of 10") && !shown.contains('█'));
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.assert_restored();
    assert!(String::from_utf8_lossy(&terminal.bytes()).contains("\x1b[38;5;"), "an empty bucket has a colour");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_gives_the_terminal_back_too() {
    let scene = Scene::start().await;
    let mut terminal = scene.on_a_terminal(&scene.url(), &[("NO_COLOR", "1")]);
    terminal.wait_for("0 of 2");
    terminal.signal("TERM");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.assert_restored();
    assert!(!String::from_utf8_lossy(&terminal.bytes()).contains("\x1b[38;"), "NO_COLOR");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_goes_and_comes_back_is_followed() {
    let scene = Scene::start().await;
    let link = Link::to(scene.proxy.metrics).await;
    link.set(Flow::Refused);
    let mut terminal = scene.on_a_terminal(&format!("http://{}", link.address), &[]);
    terminal.wait_for("nothing new for ");
    link.set(Flow::Free);
    terminal.wait_for("0 of 2");
    link.set(Flow::Refused);
    link.cut();
    terminal.wait_for("nothing new for ");
    assert!(terminal.text().contains("0 of 2"), "what was seen stays");
    link.set(Flow::Free);
    terminal.wait_for_that("no trouble", |shown| !shown.contains("nothing new for") && shown.contains("0 of 2"));
    terminal.press("p");
    terminal.wait_for("PAUSED");
    link.set(Flow::Refused);
    link.cut();
    wait_until("some samples' time", {
        let began = std::time::Instant::now();
        move || began.elapsed() > std::time::Duration::from_secs(1)
    });
    assert!(!terminal.text().contains("nothing new for"), "nobody looks while paused: {}", terminal.text());
    terminal.press("p");
    terminal.wait_for("nothing new for ");
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.assert_restored();
}
