//! A text means to `check` what it means to kubectl, and every field is where it is said to be.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tollgate::{
    check::{Verdicts, judge},
    manifest::{Content, Node, Piece, Raw, read},
    report::{Format, Judged, Summary},
};

use super::feed;
use crate::support::find::neighbour;

fn objects(text: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    read(text, &mut |piece| {
        if let Piece::Object(node) = piece {
            objects.push(node.to_value());
        }
    })
    .unwrap_or_else(|broken| panic!("{broken} at {}: {text}", broken.at));
    objects
}

/// What the real kubectl makes of a spec.
fn kubectl(text: &str) -> Value {
    let mut command = std::process::Command::new(neighbour("kubectl"));
    let ran = feed(command.args(["label", "--local", "-f", "-", "-o", "json", "a=b"]), text);
    assert_eq!(ran.code, 0, "{}: {text}", ran.stderr);
    ran.json()["spec"].clone()
}

#[test]
fn scalars_and_merges_mean_what_they_mean_to_kubectl() {
    let plain = "yes Y on no N off True nUll ~ 010 08 0o17 0x1F 0b11 1_000 0_7 -0 +5 1e3 1e-3 12e03 100.0 1.5 1. .5 +.5 1_0.5 _1 0x_1 -0x1 = \
        1:30 2001-01-01 1m0s 9007199254740993 99999999999999999999 - -x . .e 0x 0b2 09.5 1e 1..2 +-1 0xg";
    let listed = plain.split(' ').map(|text| format!("  - {text}\n")).collect::<String>();
    let spec = format!(
        "base: &b {{a: 1, c: 3}}\nspec:\n  scalars:\n{listed}  tagged: [!!str 5, !!int \"5\", !own 5, !!float 5, '5', \"5\"]\n\
         \x20 early: {{a: 5, <<: *b}}\n  late: {{<<: *b, a: 5}}\n  list: {{<<: [*b, {{a: 9, d: 4}}]}}\n  twice: {{<<: *b, <<: {{a: 9}}}}\n\
         \x20 keys: {{1: a, yes: b, 0x10: c, q: d, \"<<\": e}}\n  alias: *b\n  block: |\n    two\n    lines\n  folded: >-\n    one\n    line\n\
         \x20 quoted: 'it''s'\n  escaped: \"\\u00e9\\U0001f600\\t\"\n  nothing:\n"
    );
    let text = format!("apiVersion: v1\nkind: Any\nmetadata: {{name: x}}\n{spec}");
    let (ours, theirs) = (objects(&text)[0]["spec"].clone(), kubectl(&text));
    for (key, value) in theirs.as_object().expect("a map") {
        if let (Some(ours), Some(theirs)) = (ours[key].as_array(), value.as_array()) {
            for (at, theirs) in theirs.iter().enumerate() {
                assert!(same(&ours[at], theirs), "{key}[{at}] {:?}: ours {}, kubectl's {theirs}", plain.split(' ').nth(at), ours[at]);
            }
        }
        assert!(same(&ours[key], value), "{key}: ours {}, kubectl's {value}", ours[key]);
    }
    assert_eq!(ours.as_object().map(Map::len), theirs.as_object().map(Map::len));
}

/// What the real kubectl reads of a text, object by object.
fn kubectl_specs(text: &[u8]) -> Vec<Value> {
    let mut command = std::process::Command::new(neighbour("kubectl"));
    let folder = super::folder(&[]);
    std::fs::write(folder.path().join("f.yaml"), text).expect("a file");
    let output =
        command.args(["label", "--local", "-o", "json", "a=b", "-f"]).arg(folder.path().join("f.yaml")).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    objects.map(|object| object.expect("JSON")["spec"].clone()).collect()
}

#[test]
fn texts_of_odd_tools_are_read_as_kubectl_reads_them() {
    let yaml = "apiVersion: v1\nkind: Any\nmetadata: {name: x}\nspec:\n  a: 1";
    let json = r#"{"apiVersion":"v1","kind":"Any","metadata":{"name":"x"},"spec":{"a":"x\u{2028}y"}}"#.replace("\\u{2028}", "\u{2028}");
    let in_utf_16: Vec<u8> = "\u{feff}".encode_utf16().chain(yaml.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    for text in [
        format!("{yaml} # note\u{2028}  b: 2\n").into_bytes(),
        format!("{yaml} # note\u{2029}  b: 2\n").into_bytes(),
        format!("{yaml} # note\u{85}  b: 2\n").into_bytes(),
        format!("\u{feff}{yaml}\n---\n\u{feff}{yaml}\n").into_bytes(),
        format!("{json}\n{json}{json}\n").into_bytes(),
        [yaml.as_bytes(), b" # caf\xe9\n  b: 2\n"].concat(),
        in_utf_16,
    ] {
        let shown = String::from_utf8_lossy(&text).into_owned();
        let ours: Vec<_> = tollgate::manifest::objects(&text).expect("it is read").iter().map(|object| object["spec"].clone()).collect();
        assert_eq!(ours, kubectl_specs(&text), "{shown:?}");
    }
}

#[test]
fn limits_behind_an_odd_line_end_or_mark_are_seen_where_they_are() {
    let odd =
        format!("{}---\n\u{feff}{}", super::bad().replace("  rateLimiting:\n", "  # limits\u{2028}  rateLimiting:\u{85}"), super::bad());
    let ran = super::check_stdin(&odd, &["--output", "json"]);
    let found = "TG006 spec.rateLimiting.global.maxTokens";
    assert_eq!(ran.findings(), [format!("{found} 9:18"), format!("{found} 21:18")]);
}

#[test]
fn items_of_a_typed_list_have_its_kind() {
    let item = "- metadata: {name: a}\n  spec: {rateLimiting: {}}\n";
    let version = "apiVersion: toolhive.stacklok.dev/v1beta1\n";
    for list in [format!("{version}kind: MCPServerList\nitems:\n{item}"), format!("{version}items:\n{item}kind: MCPServerList\n")] {
        let ran = super::check_stdin(&list, &["--output", "json"]);
        let rules: Vec<_> = ran.findings().iter().map(|found| found.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(rules, ["TG003 spec.rateLimiting", "TG001 spec.sessionStorage"], "{list}");
        assert_eq!(ran.json()["findings"][0]["object"]["kind"], "MCPServer");
        let inner: String = list.lines().map(|line| format!("  {line}\n")).collect();
        let outer = format!("apiVersion: v1\nkind: List\nitems:\n-{}", inner.get(1..).expect("ASCII"));
        assert_eq!(super::check_stdin(&outer, &["--output", "json"]).findings().len(), 2, "a list in a list");
    }
}

/// Equal, where kubectl prints large numbers rounded.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => ours.as_f64() == theirs.as_f64(),
        (Value::Array(ours), Value::Array(theirs)) => ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b)),
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len() && ours.iter().all(|(key, value)| theirs.get(key).is_some_and(|theirs| same(value, theirs)))
        }
        _ => ours == theirs,
    }
}

fn values() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6..1e6_f64).prop_map(|number| json!(number)),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-z0-9:# \\-\\n\\t'\"{}\\[\\],&*!|>%@`~=<]{0,10}".prop_map(Value::from),
    ];
    scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z0-9 :#./_-]{1,8}", inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn indented(value: &Value, with: &[u8]) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(with);
    serde::Serialize::serialize(value, &mut serde_json::Serializer::with_formatter(&mut out, formatter)).expect("JSON");
    String::from_utf8(out).expect("text")
}

/// Every scalar that stands in the text itself, with what the text has at its place.
fn scalars<'t>(node: &Node, text: &'t str, found: &mut Vec<(Value, &'t str)>) {
    if let Content::Scalar(value) = &node.content {
        found.push((value.clone(), &text[node.span.clone()]));
    }
    for entry in node.entries() {
        scalars(&entry.node, text, found);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_object_survives_as_json(value in values()) {
        let object = json!({"value": value});
        for text in [object.to_string(), indented(&object, b"  "), indented(&object, b"\t")] {
            let read = objects(&text);
            prop_assert!(read.len() == 1 && same(&read[0], &object), "{text}\n{read:?}");
        }
    }

    #[test]
    fn a_scalar_stands_where_it_is_said_to(value in values()) {
        let text = serde_json::to_string_pretty(&json!({"value": value})).expect("JSON");
        let mut found = Vec::new();
        read(&text, &mut |piece| if let Piece::Object(node) = piece { scalars(&node, &text, &mut found) }).expect("it is JSON");
        for (value, there) in found {
            let there: Value = serde_json::from_str(there).expect("a JSON scalar");
            prop_assert!(same(&value, &there), "{value} is not {there}");
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ab:#\\-\\n\\r\\t'\"{}\\[\\],&*!|>%@<?0 é😀\u{85}\u{2028}\u{feff}]{0,60}") {
        drop(read(&text, &mut |piece| if let Piece::Object(node) = piece { drop(node.to_value()) }));
        judge_and_show(format!("{text}\n# MCPServer"));
        judge_and_show(text);
    }

    #[test]
    fn odd_characters_anywhere_in_a_manifest_do_not_make_it_panic(
        inserted in prop::collection::vec((any::<prop::sample::Index>(), "[ab:#\\-\\n\\r\\t'\"{}&*|é😀\u{85}\u{2028}\u{feff}]{1,3}"), 1..5)
    ) {
        let mut text: Vec<char> = super::bad().replace("global", "shared").chars().collect();
        for (at, odd) in inserted {
            let at = at.index(text.len());
            text.splice(at..at, odd.chars());
        }
        judge_and_show(text.into_iter().collect());
    }
}

/// What `check` does with a file, in every format.
fn judge_and_show(text: String) {
    let file = "f.yaml";
    let raw = Raw { bytes: text.into_bytes(), first_line: 1, offset: 0 };
    let Verdicts { objects, of_text, .. } = judge(&file.into(), raw, None);
    let of_objects = objects.iter().map(|(object, findings)| Judged { source: file, object: Some(object), findings });
    let judged: Vec<_> = of_objects.chain([Judged { source: file, object: None, findings: &of_text }]).collect();
    for format in [Format::Human, Format::Json, Format::Sarif, Format::Junit, Format::Github] {
        let mut shown = Vec::new();
        let mut report = format.open(&mut shown, false);
        judged.iter().for_each(|judged| report.judged(judged).expect("a buffer"));
        report.end(&Summary::default()).expect("a buffer");
        drop(report);
        let places = judged.iter().flat_map(|judged| judged.findings).filter(|found| found.place.is_some()).count();
        let shown = String::from_utf8(shown).expect("text");
        assert!(shown.matches(file).count() >= places, "{shown}");
    }
}
