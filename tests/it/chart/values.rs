//! Values: what is accepted, and errors that name the mistake.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::{HELMS, IMAGE, OWN, PROXIES, chart, helm, objects, of_kind, refused, template, text};

#[test]
fn lint_finds_nothing() {
    for program in HELMS {
        for more in [&[][..], &OWN, &["--set-json", PROXIES]] {
            let mut lint = helm(program, &["lint", "--strict"]);
            let output = lint.arg(chart()).args(IMAGE).args(more).output().expect("helm starts");
            assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn what_is_needed_or_contradicts_itself_is_named() {
    for (args, says) in [
        (&[][..], "image.repository is needed: no image is published"),
        (&["--set", "certs.mode=own"], "certs.own.caBundle is needed with certs.mode=own"),
        (&["--set", "podDisruptionBudget.minAvailable=1"], "set minAvailable or maxUnavailable"),
        (&["--set", "serviceAccount.create=false"], "serviceAccount.name is needed"),
    ] {
        let image = if args.is_empty() { &[][..] } else { &IMAGE };
        let stderr = refused(&[image, args].concat());
        assert!(stderr.contains(says), "{args:?}: {stderr}");
    }
}

#[test]
fn the_schema_refuses_typos_and_wrong_values_by_their_path() {
    for (set, names) in [
        ("replicas=3", "replicas"),
        ("webhook.validating.failurePolcy=Ignore", "failurePolcy"),
        ("webhook.validating.failurePolicy=fail", "/webhook/validating/failurePolicy"),
        ("certs.mode=selv", "/certs/mode"),
        ("certs.own.caBundle=ca.crt", "/certs/own/caBundle"),
        ("certs.certManager.issuerRef.nam=x", "nam"),
        ("networkPolicy.egressPorts[0]=0", "/networkPolicy/egressPorts/0"),
        ("resources.limit.memory=1Mi", "limit"),
        ("proxyDefaults.service.prt=1", "prt"),
        ("proxies[0].name=a,proxies[0].namespace=b", "upstream"),
        ("proxies[0].name=a,proxies[0].namespace=b,proxies[0].upstream=mcp:8080", "/proxies/0/upstream"),
        ("proxies[0].name=a,proxies[0].namespace=b,proxies[0].upstream=http://c,proxies[0].replicas=1", "replicas"),
        ("serviceMonitor.intervall=1s", "intervall"),
        ("prometheusRule.additionalLabels.a=b", "additionalLabels"),
        ("prometheusRule.runbookUrl=wiki", "/prometheusRule/runbookUrl"),
        ("grafanaDashboard.folder=MCP", "folder"),
    ] {
        let stderr = refused(&[&IMAGE[..], &["--set", set]].concat());
        assert!(stderr.contains("schema") && stderr.contains(names), "{set}: {stderr}");
    }
}

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(chart().join("values.schema.json")).expect("shipped")).expect("JSON")
}

/// Every object of the schema that names its keys refuses others.
fn assert_strict(schema: &Value, at: &str) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && map.get("type").is_some_and(Value::is_string) {
                assert_eq!(map.get("additionalProperties"), Some(&Value::Bool(false)), "{at} takes any key");
            }
            map.iter().for_each(|(key, value)| assert_strict(value, &format!("{at}/{key}")));
        }
        Value::Array(items) => items.iter().for_each(|value| assert_strict(value, at)),
        _ => {}
    }
}

/// The keys of the values and of the schema are the same, at every level that the schema describes.
fn assert_same_keys(root: &Value, schema: &Value, values: &Value, at: &str) {
    let referred = schema.get("$ref").and_then(Value::as_str).and_then(|to| root.pointer(to.trim_start_matches('#')));
    let schema = referred.unwrap_or(schema);
    let (Some(described), Some(values)) = (schema["properties"].as_object(), values.as_object()) else { return };
    // Filled by users only.
    let is_example = |key: &str| ["global", "enabled", "claims"].contains(&key) && (at.is_empty() || key == "claims");
    if at.ends_with("/issuerRef") {
        return;
    }
    let expected: BTreeSet<_> = described.keys().filter(|key| !is_example(key)).collect();
    assert_eq!(values.keys().collect::<BTreeSet<_>>(), expected, "at {at:?}");
    values.iter().for_each(|(key, value)| assert_same_keys(root, &described[key], value, &format!("{at}/{key}")));
}

#[test]
fn the_schema_is_strict_and_describes_the_values_that_there_are() {
    let schema = schema();
    assert_strict(&schema, "");
    let values: Value = serde_saphyr::from_str(&fs::read_to_string(chart().join("values.yaml")).expect("shipped")).expect("YAML");
    assert_same_keys(&schema, &schema, &values, "");
}

/// A chart that depends on this one, as platform teams have it.
fn umbrella(folder: &Path, values: &str) {
    fs::create_dir_all(folder.join("charts")).expect("made");
    let dependency =
        "apiVersion: v2\nname: platform\nversion: 1.0.0\ndependencies:\n  - {name: tollgate, version: 0.x, condition: tollgate.enabled}\n";
    fs::write(folder.join("Chart.yaml"), dependency).expect("written");
    fs::write(folder.join("values.yaml"), values).expect("written");
    let copied = std::process::Command::new("cp").arg("-r").arg(chart()).arg(folder.join("charts")).status().expect("cp is there");
    assert!(copied.success());
}

#[test]
fn an_umbrella_chart_may_pass_global_values_and_switch_it_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let values = |enabled: bool| {
        format!(
            "global: {{team: {{name: x}}, imageRegistry: registry.example, imagePullSecrets: [{{name: pull}}, pull, other]}}\n\
             tollgate: {{enabled: {enabled}, image: {{repository: mirror/tollgate, registry: ignored}}}}\n"
        )
    };
    let at = folder.path().display().to_string();
    umbrella(folder.path(), &values(true));
    let output = template(&at, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rendered = objects(&output.stdout);
    let pod = of_kind(&rendered, "Deployment")[0]["spec"]["template"]["spec"].clone();
    let image = format!("registry.example/mirror/tollgate:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&pod, "/containers/0/image"), image);
    assert_eq!(pod["imagePullSecrets"], serde_json::json!([{"name": "pull"}, {"name": "other"}]));

    fs::write(folder.path().join("values.yaml"), values(false)).expect("written");
    assert!(objects(&template(&at, &[]).stdout).is_empty(), "switched off");
    fs::write(folder.path().join("values.yaml"), "tollgate: {image: {repo: x}}\n").expect("written");
    let stderr = String::from_utf8_lossy(&template(&at, &[]).stderr).into_owned();
    assert!(stderr.contains("repo"), "a typo is named there too: {stderr}");
}
