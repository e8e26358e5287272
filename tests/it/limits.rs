//! `tollgate limits` on a real Redis, into which a limiter has counted.

use std::{process::Output, sync::Arc};

use serde_json::Value;
use tempfile::TempDir;
use tollgate::{
    limiter::{Call, Limiter, Policy},
    manifest::server::LimitedServer,
    stores::{Redis, redis::RedisSettings},
};

use crate::support::{redis::Server, serve::command};

const RESOURCE: &str = "\
apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPServer
metadata: {name: search, namespace: ns}
spec:
  oidcConfigRef: {name: corp}
  sessionStorage: {provider: redis, address: \"redis:6379\"}
  rateLimiting:
    global: {maxTokens: 10, refillPeriod: 10h}
    tools: [{name: web, perUser: {maxTokens: 1, refillPeriod: 1h}}]
";

struct Scene {
    folder: TempDir,
    redis: Server,
}

impl Scene {
    /// Alice has called `web`, and so has somebody with a bell in the name.
    async fn new() -> Self {
        let (folder, redis) = (tempfile::tempdir().expect("a folder"), Server::start().await);
        std::fs::write(folder.path().join("server.yaml"), RESOURCE).expect("written");
        let source = LimitedServer::read(RESOURCE, None, "default").expect("a good resource");
        let store = Redis::new(&RedisSettings::parse(&redis.url()).expect("a URL")).expect("a store");
        let limiter = Limiter::new(Arc::new(store), Policy::new(&source.server, &source.limits));
        for user in ["alice", "\x07bell"] {
            assert!(limiter.decide(&Call::of("web").by(user)).await.expect("decided").is_allowed());
        }
        Self { folder, redis }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut tollgate = command(&self.folder);
        tollgate.arg("limits").args(args).args(["-f", "server.yaml", "--redis-url", &self.redis.url()]);
        tollgate.output().expect("the binary starts")
    }

    fn stdout(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_listed_shown_and_reset() {
    let scene = Scene::new().await;
    let listed = scene.stdout(&["ls"]);
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["LIMIT", "USER", "LEFT", "WAIT", "FULL", "IN"], "{listed}");
    assert_eq!(rows[1][..5], ["global", "8", "of", "10", "-"], "{listed}");
    assert!(rows[2..].iter().any(|row| row[..5] == ["tools[web].perUser", "alice", "0", "of", "1"]), "{listed}");
    assert!(listed.contains("\u{fffd}bell") && !listed.contains('\x07'), "a terminal is told no control characters: {listed:?}");

    let shown: Value = serde_json::from_str(&scene.stdout(&["get", "--tool", "web", "--user", "bob", "--output", "json"])).expect("JSON");
    let limits: Vec<_> = shown["buckets"].as_array().expect("buckets").iter().map(|bucket| (&bucket["limit"], &bucket["tokens"])).collect();
    assert_eq!(format!("{limits:?}").matches("String").count(), 2, "{shown}");
    assert_eq!(shown["buckets"][1]["waitSeconds"], 0.0, "looking takes nothing: {shown}");

    let reset = ["reset", "--tool", "web", "--user", "alice"];
    let cached = "; proxies may serve cached denials for 1 s more\n";
    assert_eq!(scene.stdout(&reset), format!("tools[web].perUser of ns/search is full again{cached}"));
    assert_eq!(scene.stdout(&reset), format!("tools[web].perUser of ns/search was full already{cached}"));
    let reported: Value = serde_json::from_str(&scene.stdout(&[&reset[..], &["--output", "json"]].concat())).expect("JSON");
    assert_eq!((&reported["reset"], &reported["deniedFromCacheSeconds"]), (&Value::from(false), &Value::from(1.0)), "{reported}");
    assert!(!scene.stdout(&["ls"]).contains("alice"));
    assert!(scene.stdout(&["ls", "--most", "1"]).contains("there are more: raise --most"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_told_with_its_exit_code() {
    let scene = Scene::new().await;
    scene.redis.kill();
    let output = scene.run(&["ls"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the store cannot be inspected: no connection"), "{output:?}");
    std::fs::write(scene.folder.path().join("server.yaml"), RESOURCE.replace("maxTokens: 10", "maxTokens: 0")).expect("written");
    let output = scene.run(&["ls"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("TG006 spec.rateLimiting.global.maxTokens"), "{output:?}");
}
