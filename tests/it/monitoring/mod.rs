//! The dashboard and the alerts that the chart ships: what they are made of, and that a real Prometheus agrees.

mod live;
mod shipped;

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::support::pages::root;

/// Where an alert's runbook is, before `#`.
const RUNBOOK: &str = "/blob/main/docs/alerts.md";

fn files() -> PathBuf {
    root().join("manifests/helm/tollgate/files")
}

/// The file of alerts, as text.
fn rules() -> String {
    fs::read_to_string(files().join("alerts.yaml")).expect("shipped")
}

/// All alerts.
fn alerts() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&rules()).expect("YAML");
    let groups = file["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")).cloned().collect()
}

/// The names of all alerts, in order.
fn names() -> Vec<String> {
    alerts().iter().map(|alert| alert["alert"].as_str().expect("a name").to_owned()).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(files().join("dashboard.json")).expect("shipped")).expect("JSON")
}

/// Title and queries of every panel that has any.
fn panels() -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let queries = |panel: &Value| panel["targets"].as_array().map(|targets| targets.iter().map(|target| text(&target["expr"])).collect());
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    panels.filter_map(|panel| Some((text(&panel["title"]), queries(panel)?))).collect()
}
