//! Rolling updates and drained nodes under load: kube-controller-manager rolls, evicts by the PodDisruptionBudget and fills the EndpointSlices, a
//! kubelet on paper runs the pods, and the API server calls the webhooks through their Service. No create fails.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{HELMS, IMAGE, chart, helm};
use crate::support::{
    apiserver::{Cluster, Judging, Names, Said, crds},
    find::neighbour,
    kubelet::{Kubelet, NODES},
    leash::Leashed,
    load::{Load, Outcome},
    network,
    process::wait_within,
    time::STARTS_WITHIN,
};

/// Those that have something to do here.
const CONTROLLERS: &str =
    "deployment-controller,replicaset-controller,disruption-controller,endpointslice-controller,garbage-collector-controller";

/// Otherwise a create that does not reach the mutating webhook passes. `tollgate doctor` advises against it.
const BOTH_COUNT: [&str; 2] = ["--set", "webhook.mutating.failurePolicy=Fail"];

/// A cluster in which pods run.
struct Rig {
    cluster: Cluster,
    _kubelet: Kubelet,
    _controllers: Leashed,
}

impl Rig {
    fn start() -> Self {
        // There is no other way out of here by which it could find an address of its own.
        let cluster = Cluster::start_with(&[&format!("--advertise-address={}", network::address(1))]);
        cluster.install(crds(Judging::No, Names::Both));
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tollgate-system", "labels": labels}});
        cluster.apply(&namespace).expect_ok();
        let folder = tempfile::tempdir().expect("a folder").keep();
        let flags = [
            format!("--kubeconfig={}", cluster.kubeconfig().display()),
            format!("--controllers={CONTROLLERS}"),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        let controllers = Leashed::start(&folder, &neighbour("kube-controller-manager"), &flags);
        let kubelet = Kubelet::start(&cluster);
        Self { cluster, _kubelet: kubelet, _controllers: controllers }
    }

    fn helm(&self, program: &str, args: &[&str]) -> Said {
        let args = [args, &["--namespace", "tollgate-system", "--timeout", "180s"]].concat();
        let said = self.cluster.run(helm(program, &args).env("KUBECONFIG", self.cluster.kubeconfig()), "");
        let pods = || self.cluster.kubectl(&["get", "pods", "-A", "-o", "yaml"]).stdout;
        assert!(said.ok, "{program} {args:?}: {}\n{}", said.all(), pods());
        said
    }

    /// With more time for a review than by default, since the machine of a test may be busy.
    fn release(&self, program: &str, verb: &str, further: &[&str]) -> Said {
        let chart = chart().display().to_string();
        let values = "replicaCount=3,webhook.mutating.timeoutSeconds=10,webhook.validating.timeoutSeconds=10";
        self.helm(program, &[&[verb, "tollgate", &chart, "--wait", IMAGE[0], IMAGE[1], "--set", values][..], further].concat())
    }

    /// The nodes of the pods that are not on their way out.
    fn places(&self) -> Vec<String> {
        let said = self.cluster.kubectl(&["get", "pods", "-n", "tollgate-system", "-o", "json"]).expect_ok();
        let list: Value = serde_json::from_str(&said.stdout).expect("JSON");
        let stays = |pod: &&Value| pod["metadata"].get("deletionTimestamp").is_none();
        let pods = list["items"].as_array().expect("a list").iter().filter(stays);
        pods.map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn uninstall(&self, program: &str) {
        self.helm(program, &["uninstall", "tollgate", "--wait"]);
        wait_within(STARTS_WITHIN, "no pod is left", || {
            let said = self.cluster.kubectl(&["get", "pods,replicasets,endpointslices", "-n", "tollgate-system", "-o", "name"]);
            said.ok && said.stdout.is_empty()
        });
    }
}

/// How long creates failed in an install: before it, nothing refuses the faulty ones; after it, the webhook does.
fn window(load: Outcome) -> Duration {
    assert!(load.refused > 0, "{load:?}");
    let (uncalled, passed): (Vec<_>, Vec<_>) =
        load.failed.into_iter().partition(|(_, why)| why.contains("failed calling webhook \\\"validate.tollgate.dev"));
    assert!(passed.iter().all(|(_, why)| why.contains("201")), "{passed:?}");
    let (first, last) = (uncalled.iter().map(|(at, _)| *at).min(), uncalled.iter().map(|(at, _)| *at).max());
    last.zip(first).map_or(Duration::ZERO, |(last, first)| last - first)
}

#[test]
#[ignore = "minutes, and kube-controller-manager: make proof"]
fn proof_no_create_fails_in_rolling_updates_and_drains() {
    let test = concat!(module_path!(), "::proof_no_create_fails_in_rolling_updates_and_drains");
    network::inside(test.split_once("::").expect("a path").1, installed_rolled_and_drained);
}

#[allow(clippy::print_stdout, reason = "the figures are what a proof is run for")]
fn installed_rolled_and_drained() {
    let rig = Rig::start();
    for program in HELMS.iter().rev() {
        let (began, load) = (Instant::now(), Load::start(rig.cluster.kubeconfig(), "default", 50));
        rig.release(program, "install", &[]);
        let (ready, so_far) = (began.elapsed(), load.so_far().0);
        wait_within(STARTS_WITHIN, "creates are answered", || load.so_far().0 > so_far + 50);
        println!("{program}: installed and ready after {ready:.1?}; limited servers could not be created for {:.1?}", window(load.stop()));
        let tested = rig.helm(program, &["test", "tollgate"]).stdout;
        assert!(tested.contains("Phase:") && !tested.contains("Failed"), "{tested}");
        if *program == HELMS[1] {
            rig.uninstall(program);
        }
    }
    rig.release(HELMS[0], "upgrade", &BOTH_COUNT);
    let load = Load::start(rig.cluster.kubeconfig(), "default", 50);
    let step = |about: &str, step: &dyn Fn()| {
        let (began, before) = (Instant::now(), load.so_far());
        step();
        let after = load.so_far();
        println!("{about}: {} creates in {:.1?}, {} failed", after.0 - before.0, began.elapsed(), after.1 - before.1);
    };
    wait_within(STARTS_WITHIN, "creates are answered", || load.so_far().0 > 50);
    step("rolling update", &|| drop(rig.release(HELMS[0], "upgrade", &[&BOTH_COUNT[..], &["--set", "podAnnotations.round=two"]].concat())));
    step("rollback", &|| drop(rig.helm(HELMS[0], &["rollback", "tollgate", "2", "--wait"])));
    for node in NODES {
        step(&format!("drain of {node}"), &|| {
            rig.cluster.kubectl(&["drain", node, "--timeout=180s"]).expect_ok();
            let moved = || rig.places().len() == 3 && rig.places().iter().all(|place| place != node);
            wait_within(STARTS_WITHIN, "the pods are elsewhere", moved);
            rig.cluster.kubectl(&["rollout", "status", "-n", "tollgate-system", "deployment/tollgate", "--timeout=180s"]).expect_ok();
            rig.cluster.kubectl(&["uncordon", node]).expect_ok();
        });
    }
    let outcome = load.stop();
    println!("{} created, {} refused, {} failed", outcome.created, outcome.refused, outcome.failed.len());
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert!(outcome.created > outcome.refused && outcome.refused > 0, "{outcome:?}");
    rig.uninstall(HELMS[0]);
}
