//! Generated files in any style: the keys change and nothing else does.

use proptest::prelude::*;
use serde_json::Value;
use tollgate::manifest::{Node, Piece, migrate::migrate, read};

/// How one file is written.
#[derive(Clone, Debug)]
struct Style {
    indent: usize,
    line_end: &'static str,
    quote: &'static str,
    comments: bool,
    flow_buckets: bool,
    ends_with_line_end: bool,
}

fn styles() -> impl Strategy<Value = Style> {
    let quotes = prop::sample::select(vec!["", "\"", "'"]);
    let line_ends = prop::sample::select(vec!["\n", "\r\n"]);
    (1..5_usize, line_ends, quotes, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(indent, line_end, quote, comments, flow_buckets, ends_with_line_end)| Style {
            indent,
            line_end,
            quote,
            comments,
            flow_buckets,
            ends_with_line_end,
        },
    )
}

/// An object: at which place its limits are, and the scopes of the server and of each tool.
#[derive(Clone, Debug)]
struct Object {
    place: usize,
    levels: Vec<(bool, bool)>,
    is_ours: bool,
}

fn objects() -> impl Strategy<Value = Object> {
    (0..3_usize, prop::collection::vec(any::<(bool, bool)>(), 1..4), prop::bool::weighted(0.8))
        .prop_map(|(place, levels, is_ours)| Object { place, levels, is_ours })
}

struct Writer<'s> {
    style: &'s Style,
    lines: Vec<String>,
}

impl Writer<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        let comment = if self.style.comments && self.lines.len().is_multiple_of(3) { "  # shared: {maxTokens: 1}" } else { "" };
        self.lines.push(format!("{}{text}{comment}", " ".repeat(depth * self.style.indent)));
        if self.style.comments && self.lines.len().is_multiple_of(7) {
            self.lines.extend([String::new(), format!("{}# shared:", " ".repeat(depth))]);
        }
    }

    fn bucket(&mut self, depth: usize, prefix: &str, key: &str, tokens: usize) {
        let key = format!("{prefix}{quote}{key}{quote}:", quote = self.style.quote);
        if self.style.flow_buckets {
            self.line(depth, &format!("{key} {{maxTokens: {tokens}, refillPeriod: \"1m\"}}"));
        } else {
            self.line(depth, &key);
            let inner = if prefix.is_empty() { 1 } else { 2 };
            self.line(depth + inner, &format!("maxTokens: {tokens}"));
            self.line(depth + inner, "refillPeriod: 1m");
        }
    }

    fn object(&mut self, at: usize, object: &Object) {
        let kind = if object.place == 0 { "MCPServer" } else { "VirtualMCPServer" };
        let group = if object.is_ours { "toolhive.stacklok.dev" } else { "example.com" };
        self.line(0, "---");
        self.line(0, &format!("apiVersion: {group}/v1beta1"));
        self.line(0, &format!("kind: {kind}"));
        self.line(0, &format!("metadata: {{name: shared-{at}, labels: {{shared: shared}}}}"));
        self.line(0, "spec:");
        let pad = " ".repeat(self.style.indent);
        self.lines.extend([format!("{pad}description: |-"), format!("{pad}{pad}shared:")]);
        let mut depth = 1;
        if object.place == 2 {
            self.line(1, "config:");
            depth = 2;
        }
        self.line(depth, "rateLimiting:");
        for (number, (says_shared, has_user)) in object.levels.iter().enumerate() {
            let scope = if *says_shared { "shared" } else { "global" };
            if number == 0 {
                self.bucket(depth + 1, "", scope, 10 + at);
                self.line(depth + 1, if object.levels.len() == 1 { "tools: []" } else { "tools:" });
                continue;
            }
            // An entry's dash takes two columns, whatever the indentation.
            let style = Style { indent: 2, ..self.style.clone() };
            let mut entry = Writer { style: &style, lines: Vec::new() };
            entry.bucket(0, "- ", scope, number);
            entry.line(1, &format!("name: \"shared{number}\""));
            if *has_user {
                entry.bucket(1, "", "perUser", number);
            }
            let pad = " ".repeat((depth + 1) * self.style.indent);
            self.lines.extend(entry.lines.into_iter().map(|line| format!("{pad}{line}")));
        }
    }
}

fn written(style: &Style, objects: &[Object]) -> String {
    let mut writer = Writer { style, lines: Vec::new() };
    objects.iter().enumerate().for_each(|(at, object)| writer.object(at, object));
    let text = writer.lines.join(style.line_end);
    if style.ends_with_line_end { text + style.line_end } else { text }
}

fn values(text: &str) -> Vec<Value> {
    let mut values = Vec::new();
    let keep = &mut |piece| {
        if let Piece::Object(node) = piece {
            values.push(Node::to_value(&node));
        }
    };
    read(text, keep).unwrap_or_else(|broken| panic!("{broken} at {}:\n{text}", broken.at));
    values
}

/// The rename, done to a value.
fn renamed(mut object: Value) -> Value {
    fn level(level: &mut Value) {
        if let Some(map) = level.as_object_mut()
            && let Some(shared) = map.remove("shared")
        {
            map.insert("global".to_owned(), shared);
        }
    }
    if object["apiVersion"] == "toolhive.stacklok.dev/v1beta1" {
        for place in ["/spec/rateLimiting", "/spec/config/rateLimiting"] {
            let Some(block) = object.pointer_mut(place) else { continue };
            level(block);
            block.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten().for_each(level);
        }
    }
    object
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn only_key_tokens_change(style in styles(), objects in prop::collection::vec(objects(), 1..4)) {
        let text = written(&style, &objects);
        let migration = migrate(&text).expect("it is YAML");
        let after = migration.apply(&text);
        prop_assert!(migration.left.is_empty(), "{:?}\n{text}", migration.left);
        let said: usize = objects.iter().filter(|object| object.is_ours).map(|object| object.levels.iter().filter(|level| level.0).count()).sum();
        prop_assert_eq!(migration.edits.len(), said, "{}", text);
        prop_assert_eq!(after.len(), text.len());
        let differ: Vec<usize> = (0..text.len()).filter(|at| text.as_bytes()[*at] != after.as_bytes()[*at]).collect();
        let tokens: Vec<usize> = migration.edits.iter().flat_map(|edit| edit.span.clone()).collect();
        prop_assert!(differ.iter().all(|at| tokens.contains(at)));
        prop_assert_eq!(values(&after), values(&text).into_iter().map(renamed).collect::<Vec<_>>());
        prop_assert!(migrate(&after).expect("still YAML").edits.is_empty(), "once is enough");
    }

    #[test]
    fn no_text_makes_it_panic_or_lose_something(text in "(shared|global|tools|: |- |\\{|\\}|\\[|\\]|,|\\n  |\\n    |\\n|&a|\\*a|#|\"|maxTokens|1m|<<|\\r|\u{85}|\u{2028}|é){0,30}") {
        let text = format!("apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPServer\nspec:\n  rateLimiting:\n    {text}\n");
        if let Ok(migration) = migrate(&text) {
            let after = migration.apply(&text);
            prop_assert!(migration.edits.is_empty() || values(&after).len() == values(&text).len());
        }
    }
}
