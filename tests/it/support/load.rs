//! Creates of servers, at a steady rate, that all have to be answered by the webhooks.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tollgate::cluster::{self, Access};

/// A server with limits, or one that TG003 refuses.
pub fn server(namespace: &str, name: &str, is_faulty: bool) -> Value {
    let limits = if is_faulty { json!({"tools": []}) } else { json!({"global": {"maxTokens": 5, "refillPeriod": "1m0s"}}) };
    json!({
        "apiVersion": "toolhive.stacklok.dev/v1beta1", "kind": "MCPServer", "metadata": {"name": name, "namespace": namespace},
        "spec": {"rateLimiting": limits, "sessionStorage": {"provider": "redis", "address": "redis:6379"}},
    })
}

/// Creates, some of them faulty, so and so many a second until it is asked for the outcome.
pub struct Load {
    stop: Arc<AtomicBool>,
    outcome: Arc<Mutex<Outcome>>,
    thread: JoinHandle<()>,
}

/// How they went.
#[derive(Debug, Default)]
pub struct Outcome {
    pub created: usize,
    pub refused: usize,
    /// Neither: when, and why.
    pub failed: Vec<(Instant, String)>,
}

impl Load {
    /// As the administrator whose kubeconfig it is.
    pub fn start(kubeconfig: &Path, namespace: &str, per_second: u32) -> Self {
        let (stop, outcome) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Outcome::default())));
        let (stopped, counted, namespace) = (stop.clone(), outcome.clone(), namespace.to_owned());
        let access = Access { kubeconfig: Some(kubeconfig.to_owned()), context: None };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(create_until(&access, &namespace, per_second, &stopped, &counted));
        });
        Self { stop, outcome, thread }
    }

    /// How many were answered so far, and how many failed.
    pub fn so_far(&self) -> (usize, usize) {
        let outcome = self.outcome.lock().expect("no panic while held");
        (outcome.created + outcome.refused, outcome.failed.len())
    }

    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("no panic");
        std::mem::take(&mut self.outcome.lock().expect("no panic while held"))
    }
}

async fn create_until(access: &Access, namespace: &str, per_second: u32, stop: &AtomicBool, outcome: &Arc<Mutex<Outcome>>) {
    let cluster = Arc::new(cluster::Cluster::connect(access).expect("a client"));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tasks = tokio::task::JoinSet::new();
    for count in 0_u32.. {
        ticks.tick().await;
        if stop.load(Ordering::Acquire) {
            break;
        }
        while tasks.try_join_next().is_some() {}
        let is_faulty = count % 5 == 0;
        let object = server(namespace, &format!("load-{count}"), is_faulty);
        let (cluster, outcome) = (cluster.clone(), outcome.clone());
        tasks.spawn(async move {
            let namespace = object["metadata"]["namespace"].as_str().expect("it has one");
            let path = format!("/apis/toolhive.stacklok.dev/v1beta1/namespaces/{namespace}/mcpservers?dryRun=All");
            let answer = cluster.create(&path, &object).await;
            let mut outcome = outcome.lock().expect("no panic while held");
            match answer {
                Ok(answer) if answer.code == 201 && !is_faulty => outcome.created += 1,
                Ok(answer) if is_faulty && answer.body.to_string().contains("TG003") => outcome.refused += 1,
                other => outcome.failed.push((Instant::now(), format!("{other:?}"))),
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}
