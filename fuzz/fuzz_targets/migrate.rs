//! Any text as a manifest: no panic; what `migrate` makes of it means the same but for the keys, and is the end of it.
//!
//! `cargo +nightly fuzz run migrate`

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use tollgate::manifest::{Broken, Piece, migrate::migrate, read};

const HEAD: &str = "apiVersion: toolhive.stacklok.dev/v1beta1\nkind: MCPServer\nspec:\n  rateLimiting:\n    ";

fuzz_target!(|input: &str| -> Corpus {
    let text = format!("{HEAD}{input}");
    let Ok(migration) = migrate(&text) else { return Corpus::Keep };
    let after = migration.apply(&text);
    let (before, now) = (values(&text).expect("it was read"), values(&after).expect("it can still be read"));
    assert_eq!(before.len(), now.len());
    if migration.edits.iter().all(|edit| !edit.with.is_empty()) {
        assert_eq!(before.iter().map(leaves).sum::<usize>(), now.iter().map(leaves).sum::<usize>(), "{text}");
    }
    assert!(migrate(&after).expect("it can still be read").edits.is_empty(), "{text}");
    Corpus::Keep
});

fn values(text: &str) -> Result<Vec<Value>, Broken> {
    let mut values = Vec::new();
    read(text, &mut |piece| match piece {
        Piece::Object(node) | Piece::List(node) => values.push(node.to_value()),
    })?;
    Ok(values)
}

/// How many values an object holds.
fn leaves(value: &Value) -> usize {
    match value {
        Value::Array(entries) => 1 + entries.iter().map(leaves).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(leaves).sum::<usize>(),
        _ => 1,
    }
}
