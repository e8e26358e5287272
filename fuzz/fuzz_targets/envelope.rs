//! Any bytes as a POST's body: no panic, and what is passed on is to serde_json what it is here.
//!
//! `cargo +nightly fuzz run envelope`. The first byte chooses the revision.

#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::{Value, value::RawValue};
use tollgate::mcp::{Headers, Reader};

const REVISIONS: [Option<&str>; 4] = [None, Some("2025-06-18"), Some("2025-11-25"), Some("2026-07-28")];

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((choice, body)) = input.split_first() else { return Corpus::Reject };
    let protocol_version = REVISIONS[usize::from(*choice) % REVISIONS.len()];
    let headers = Headers { content_type: Some("application/json"), protocol_version, ..Headers::default() };
    match Reader::default().optimizer(false).read(&headers, body) {
        Ok(envelope) => {
            assert_eq!(envelope.tools(), called(body), "{}", String::from_utf8_lossy(body));
            for id in envelope.parts().iter().filter_map(|part| part.id.as_ref()) {
                assert!(body.windows(id.as_str().len()).any(|window| window == id.as_str().as_bytes()), "{id:?} is not of the body");
            }
        }
        Err(refusal) => {
            let answer: Value = serde_json::from_slice(&refusal.reply().body).expect("a reply is JSON");
            assert_eq!(answer["error"]["code"], refusal.code());
        }
    }
    Corpus::Keep
});

/// The tools that a body calls, the last of several members taken.
fn called(body: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(body).expect("what is passed on is UTF-8");
    let one = |_| vec![serde_json::from_str(text).expect("what is passed on is JSON")];
    let messages = serde_json::from_str::<Vec<&RawValue>>(text).unwrap_or_else(one);
    messages.into_iter().filter_map(called_by).collect()
}

fn called_by(message: &RawValue) -> Option<String> {
    let message = members(message).expect("what is passed on is made of objects");
    let is_call = message.get("method").and_then(|method| string(method)).as_deref() == Some("tools/call");
    let name = || members(message.get("params")?)?.get("name").and_then(|name| string(name));
    is_call.then(|| name().expect("a call names its tool"))
}

/// Values stay text, so that numbers beyond a double's are no matter.
fn members(object: &RawValue) -> Option<HashMap<String, &RawValue>> {
    serde_json::from_str(object.get()).ok()
}

fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}
