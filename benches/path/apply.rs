//! Server-side applies, one at a time on one connection, and the API server's count of the webhooks that it called for them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hyper::Request;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

use super::parties::{Key, Parties, Party};

const HOOKS: [&str; 2] = ["mutate", "validate"];
const CALLED_WITHIN: Duration = Duration::from_secs(60);

/// How long each apply took, by operation ([`super::report::OPERATIONS`]) and party.
pub(super) type Times = [[Vec<Duration>; 4]; 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DryRun {
    Yes,
    No,
}

/// An administrator's connection.
pub(super) struct Client(kube::Client);

impl Client {
    pub(super) async fn connect(parties: &Parties) -> anyhow::Result<Self> {
        let kubeconfig = Kubeconfig::read_from(parties.cluster.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Self(kube::Client::try_from(config)?))
    }

    /// Waits until the API server calls every webhook that is registered.
    pub(super) async fn wait_for_webhooks(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        for party in Party::CALLED {
            while self.calls(party).await?.contains(&0) {
                ensure!(began.elapsed() < CALLED_WITHIN, "the webhooks of {} are not called", party.name());
                self.apply(party, Key::Shared, "probe", DryRun::Yes).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Measures rounds after a short one that is not counted.
    pub(super) async fn rounds(&self, key: Key, count: usize, duration: Duration) -> anyhow::Result<Vec<Times>> {
        let mut number = 0;
        self.round(key, duration / 4, &mut number).await?;
        let before = [self.calls(Party::Bare).await?, self.calls(Party::Tollgate).await?];
        let first = number;
        let mut rounds = Vec::new();
        for _ in 0..count {
            rounds.push(self.round(key, duration, &mut number).await?);
        }
        let objects = number - first;
        for (party, before) in Party::CALLED.into_iter().zip(before) {
            let after = self.calls(party).await?;
            let calls = [after[0] - before[0], after[1] - before[1]];
            // Both for a create, and the mutating one for an apply that changes nothing.
            ensure!(calls == [2 * objects, objects], "{objects} objects of {} took {calls:?} calls of {HOOKS:?}", party.name());
        }
        Ok(rounds)
    }

    /// Each object for all parties before the next one, until the time is up.
    async fn round(&self, key: Key, duration: Duration, number: &mut usize) -> anyhow::Result<Times> {
        let until = Instant::now() + duration;
        let mut times = Times::default();
        while Instant::now() < until {
            let name = format!("{}-{number}", key.name());
            for operation in &mut times {
                for turn in 0..Party::ALL.len() {
                    let index = (*number + turn) % Party::ALL.len();
                    operation[index].push(self.apply(Party::ALL[index], key, &name, DryRun::No).await?);
                }
            }
            *number += 1;
        }
        Ok(times)
    }

    /// Applies an object, and returns how long the API server took for it.
    async fn apply(&self, party: Party, key: Key, name: &str, dry_run: DryRun) -> anyhow::Result<Duration> {
        let (group, namespace) = (party.group(), party.name());
        let dry_run = if dry_run == DryRun::Yes { "&dryRun=All" } else { "" };
        let url = format!("/apis/{group}/v1beta1/namespaces/{namespace}/mcpservers/{name}?fieldManager=bench{dry_run}");
        let request = Request::patch(url).header("content-type", "application/apply-patch+yaml");
        let request = request.body(party.object(key, name)?.to_string().into_bytes())?;
        let sent = Instant::now();
        let stored = self.0.request_text(request).await.with_context(|| party.name())?;
        let took = sent.elapsed();
        let is_global = key == Key::Global || party == Party::Tollgate;
        ensure!(!dry_run.is_empty() || stored.contains("\"global\":{\"maxTokens\"") == is_global, "renamed or not: {stored}");
        Ok(took)
    }

    /// How often the API server has called the webhooks of a party.
    async fn calls(&self, party: Party) -> anyhow::Result<[usize; 2]> {
        let text = self.0.request_text(Request::get("/metrics").body(Vec::new())?).await?;
        let count = |hook: &str| {
            let name = format!("name=\"{}\"", party.webhook(hook));
            let lines = text.lines().filter(|line| line.starts_with("apiserver_admission_webhook_request_total{"));
            let counts = lines.filter(|line| line.contains(&name) && line.contains("code=\"200\""));
            counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
        };
        Ok(HOOKS.map(count))
    }
}
