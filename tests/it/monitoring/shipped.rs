//! The files themselves: what promtool says of the rules, where runbooks lead, what Grafana needs in order to load a dashboard anywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::{Value, json};

use super::{RUNBOOK, alerts, dashboard, names, panels, rules};
use crate::{
    chart,
    support::{
        find::neighbour,
        pages::{self, Page, root},
    },
};

fn promtool(args: &[&str]) -> String {
    let output = Command::new(neighbour("promtool")).current_dir(root()).args(args).output().expect("promtool starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn each_alert_fires_and_is_silent_in_unit_tests() {
    let said = promtool(&["check", "rules", "manifests/helm/tollgate/files/alerts.yaml"]);
    assert!(said.contains(&format!("{} rules found", names().len())), "{said}");
    promtool(&["test", "rules", "tests/cases/alerts.yaml"]);
    let cases = fs::read_to_string(root().join("tests/cases/alerts.yaml")).expect("it is there");
    for name in names() {
        for way in ["fires", "is silent"] {
            assert!(cases.contains(&format!("name: '{name} {way}: ")), "no case in which {name} {way}");
        }
    }
}

#[test]
fn each_alert_has_a_severity_texts_and_a_section_that_its_runbook_leads_to() {
    let page = Page::read("docs/alerts.md");
    let sections: BTreeMap<_, _> = page.text.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    for alert in alerts() {
        let name = alert["alert"].as_str().expect("a name");
        assert!(["critical", "warning", "info"].map(Value::from).contains(&alert["labels"]["severity"]), "{name}");
        let annotations = alert["annotations"].as_object().expect("annotations");
        assert_eq!(annotations.keys().collect::<BTreeSet<_>>().len(), 3, "{name}: summary, description, runbook_url");
        assert!(annotations["summary"].as_str().is_some_and(|text| !text.contains("{{")), "{name}: a summary is the same for all");
        let runbook = annotations["runbook_url"].as_str().expect("a URL");
        assert!(runbook.ends_with(&format!("{RUNBOOK}#{}", name.to_lowercase())), "{name}: {runbook}");
        let section = sections.get(name).unwrap_or_else(|| panic!("docs/alerts.md has no section {name}"));
        for part in ["**Means.** ", "**Look at** ", "**Do.** "] {
            assert!(section.contains(part), "{name} lacks {part}");
        }
    }
    let extra: Vec<_> = sections.keys().filter(|section| **section != "Install" && !names().contains(&(**section).to_owned())).collect();
    assert!(extra.is_empty(), "sections on no alert: {extra:?}");
    assert!(page.text.contains(&format!("{} alerts", names().len())), "docs/alerts.md counts them");
}

/// The metrics that a text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tollgate_") || word.starts_with("toolhive_rate_limit_")).map(str::to_owned).collect()
}

#[test]
fn every_metric_in_a_query_is_documented() {
    let documented = metrics(&pages::docs().iter().map(|page| page.text.clone()).collect::<String>());
    let queries = panels().into_iter().flat_map(|(_, queries)| queries).chain([rules()]);
    for metric in queries.flat_map(|query| metrics(&query)) {
        let is_documented = documented.contains(&metric)
            || ["_bucket", "_sum", "_count"].iter().any(|part| metric.strip_suffix(part).is_some_and(|base| documented.contains(base)));
        assert!(is_documented, "{metric}");
    }
}

/// The first counts buckets; what it would show is shown by limit. The second is about a year away, and its leaf's end is shown.
const NOT_SHOWN: [&str; 2] = ["toolhive_rate_limit_decisions_total", "tollgate_ca_expiry_timestamp"];

#[test]
fn every_documented_metric_is_on_the_dashboard_or_in_an_alert() {
    let shown: String = panels().into_iter().flat_map(|(_, queries)| queries).chain([rules()]).collect();
    let documented = ["webhook", "library", "proxy", "envoy", "cli"].map(|page| metrics(&Page::read(&format!("docs/{page}.md")).text));
    assert!(documented.iter().all(|metrics| !metrics.is_empty()), "{documented:?}");
    let is_missing = |metric: &String| !NOT_SHOWN.contains(&metric.as_str()) && !shown.contains(metric.as_str());
    let missing: Vec<_> = documented.iter().flatten().filter(|metric| is_missing(metric)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_dashboard_loads_with_any_data_source_and_filters_by_namespace_and_server() {
    let dashboard = dashboard();
    let variables: Vec<_> = dashboard["templating"]["list"].as_array().expect("variables").iter().map(|v| v["name"].clone()).collect();
    assert_eq!(variables, ["datasource", "namespace", "server"]);
    assert!(dashboard.get("__inputs").is_none(), "a provisioned dashboard cannot ask for inputs");
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].to_string()), "{title}: its id is another panel's");
        assert!(places.insert((panel["gridPos"]["y"].to_string(), panel["gridPos"]["x"].to_string())), "{title}: its place is taken");
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title} has no description");
        assert_eq!(panel["datasource"], source, "{title}");
        for target in panel["targets"].as_array().expect("queries") {
            assert_eq!(target["datasource"], source, "{title}");
            let query = target["expr"].as_str().expect("a query");
            // The webhook and the writes of audits belong to no server, and a process behind Envoy to several.
            let is_global = ["tollgate_admission_", "tollgate_certificate_", "tollgate_audit_condition_", "tollgate_authz_"]
                .iter()
                .any(|of| query.contains(of) && !query.contains("tollgate_authz_requests_total"));
            assert!(is_global || query.contains(r#"namespace=~"$namespace""#), "{title}: {query}");
        }
    }
}

#[test]
fn the_chart_renders_both_as_they_are_shipped() {
    let on = ["--set", "prometheusRule.enabled=true,grafanaDashboard.enabled=true"];
    let objects = chart::render(&[&on[..], &["--set", "grafanaDashboard.annotations.grafana_folder=MCP"]].concat());
    let config_map = chart::of_kind(&objects, "ConfigMap")[0];
    assert_eq!(config_map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(config_map["metadata"]["annotations"], json!({"grafana_folder": "MCP"}));
    let rendered: Value = serde_json::from_str(chart::text(config_map, "/data/tollgate.json")).expect("JSON");
    assert_eq!(rendered, dashboard());
    let of = |objects: &[Value]| -> Vec<Value> {
        let groups = chart::of_kind(objects, "PrometheusRule")[0]["spec"]["groups"].as_array().expect("groups").clone();
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
    };
    assert_eq!(of(&objects), alerts());

    let values = r#"prometheusRule={"enabled": true, "labels": {"release": "kps"}, "runbookUrl": "https://wiki.example/tollgate",
        "disabled": ["TollgateDown", "TollgateLimitsInvalid", "TollgateConditionConflict"]}"#;
    let objects = chart::render(&["--set-json", values]);
    assert_eq!(chart::of_kind(&objects, "PrometheusRule")[0]["metadata"]["labels"]["release"], "kps");
    let kept = of(&objects);
    assert_eq!(kept.len(), alerts().len() - 3);
    for alert in kept {
        let anchor = chart::text(&alert, "/annotations/runbook_url").strip_prefix("https://wiki.example/tollgate#").map(str::to_owned);
        assert_eq!(anchor, Some(chart::text(&alert, "/alert").to_lowercase()));
    }
    assert!(chart::of_kind(&chart::render(&[]), "ConfigMap").is_empty(), "off by default");
}
