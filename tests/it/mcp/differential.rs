//! No body passes that another parser reads otherwise: not as a call where we see none, not as a call of another tool.
//!
//! Asked are serde_json, Python's json, Node's JSON.parse and Go's encoding/json, each also in the ways in which programs depart from it
//! (the first of two members wins, case is folded, invalid bytes are replaced, what follows the first value is left unread).

use std::cell::Cell;

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};

use super::{bodies, read};
use crate::support::parsers::{Parser, Reading, serde_reading};

/// All readings of a body, with who reads so.
fn readings(parsers: &mut [Parser], body: &[u8]) -> Vec<(&'static str, Reading)> {
    let mut all: Vec<_> = serde_reading(body).into_iter().map(|reading| ("serde_json", reading)).collect();
    for parser in parsers {
        let language = parser.language;
        all.extend(parser.readings(body).into_iter().map(|reading| (language, reading)));
    }
    all
}

/// What is passed on is read by all as it is here.
fn check(body: &[u8], readings: &[(&'static str, Reading)]) -> Result<bool, TestCaseError> {
    let Ok(envelope) = read(body) else { return Ok(false) };
    let ours: Reading = envelope.tools().iter().map(|tool| Some((*tool).to_owned())).collect();
    for (language, theirs) in readings {
        prop_assert_eq!(&ours, theirs, "{} reads {}", language, String::from_utf8_lossy(body));
    }
    Ok(true)
}

fn parsers() -> [Parser; 3] {
    [Parser::python(), Parser::node(), Parser::go()]
}

/// Whether a body is a call to one and none to another, or of another tool.
fn is_contested(readings: &[(&'static str, Reading)]) -> bool {
    readings.iter().any(|(_, reading)| *reading != readings[0].1)
}

#[test]
fn known_bodies_are_read_alike_by_all() {
    let mut parsers = parsers();
    let mut contested = 0;
    for (body, _) in bodies::all() {
        let readings = readings(&mut parsers, &body);
        if let Err(error) = check(&body, &readings) {
            panic!("{error}");
        }
        contested += usize::from(is_contested(&readings));
    }
    assert!(contested >= 10, "only {contested} bodies are read differently by these parsers: are they asked at all?");
}

#[test]
fn random_bodies_are_read_alike_by_all() {
    // PROPTEST_CASES asks for more.
    let cases = Config::default().cases.max(4000);
    let parsers = Cell::new(Some(parsers()));
    let (passed, calls, contested) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases, max_shrink_iters: 2000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&any_body(), |body| {
        let mut asked = parsers.take().expect("one case at a time");
        let readings = readings(&mut asked, &body);
        parsers.set(Some(asked));
        let is_passed = check(&body, &readings)?;
        passed.set(passed.get() + u32::from(is_passed));
        calls.set(calls.get() + u32::from(is_passed && readings.iter().any(|(_, reading)| !reading.is_empty())));
        contested.set(contested.get() + u32::from(is_contested(&readings)));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let seen = format!("{} passed, {} of them calls, {} contested", passed.get(), calls.get(), contested.get());
    assert!(passed.get() > cases / 6 && calls.get() > cases / 10 && contested.get() > cases / 100, "too tame: {seen}");
}

/// One member of an object, as text: its name, mostly a good one, and a value.
type Member = (String, String);

/// A name as it might be written to be read differently.
fn disguised(name: &'static str) -> impl Strategy<Value = String> {
    let written = (0..12_u8, any::<Index>()).prop_map(move |(how, at)| {
        let at = at.index(name.len());
        let (before, letter, after) = (&name[..at], &name[at..=at], &name[at + 1..]);
        match how {
            0 => name.to_uppercase(),
            1 => format!("{before}{}{after}", letter.to_uppercase()),
            2 => format!("{before}\\u{:04x}{after}", letter.as_bytes()[0]),
            3 => name.replace('s', "\u{17f}"),
            4 => name.replace('s', "\\u017f"),
            5 => name.replace('i', "ı"),
            6 => format!("{name}\\u0000"),
            7 => format!("{before}\\ud800{after}"),
            8 => format!("{name} "),
            _ => name.to_owned(),
        }
    });
    prop_oneof![30 => Just(name.to_owned()), 1 => written]
}

fn quoted(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    text.prop_map(|text| format!("\"{text}\""))
}

fn scalar() -> impl Strategy<Value = String> {
    const JSON: [&str; 11] = ["null", "true", "0", "-1.5e3", "1e999", "9007199254740993", "\"\"", "\"a\"", "[]", "{}", "[[],{}]"];
    const OTHER: [&str; 4] = ["NaN", "'a'", "\"\\ud83d\"", "/**/1"];
    prop_oneof![40 => select(&JSON[..]), 1 => select(&OTHER[..])].prop_map(str::to_owned)
}

fn method() -> BoxedStrategy<String> {
    prop_oneof![
        5 => quoted(disguised("tools/call")),
        2 => quoted(select(&["ping", "tools\\/call", "tools/list", "Tools/Call"][..]).prop_map(str::to_owned)),
        1 => scalar()
    ]
    .boxed()
}

fn tool() -> BoxedStrategy<String> {
    let names = select(&["search", "call_tool", "call_tool", "s\\u0065arch", "a:{b}"][..]).prop_map(str::to_owned);
    prop_oneof![8 => quoted(names), 1 => scalar()].boxed()
}

/// An object of these members, each there or not, with some of them once more and in any order.
fn object(members: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
    let one = |(name, value): (&'static str, BoxedStrategy<String>)| (disguised(name), value);
    let each: Vec<_> = members.iter().cloned().map(|member| option::weighted(0.97, one(member))).collect();
    let again = prop_oneof![
        proptest::strategy::Union::new(members.into_iter().map(|member| one(member).boxed())),
        (Just("__proto__".to_owned()), Just(r#"{"method":"tools/call","name":"x"}"#.to_owned())),
        ("[a-z]{0,3}", scalar())
    ];
    let all =
        (each, option::weighted(0.25, again)).prop_map(|(each, again)| each.into_iter().flatten().chain(again).collect::<Vec<Member>>());
    let shuffled = all.prop_shuffle();
    (shuffled, prop_oneof![20 => select(&["", " ", "\n\t"][..]), 1 => Just("\u{a0}")])
        .prop_map(|(members, space)| join(&members, space))
        .boxed()
}

fn join(members: &[Member], space: &str) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("{space}\"{name}\"{space}:{value}")).collect();
    format!("{{{}{space}}}", members.join(","))
}

fn message() -> BoxedStrategy<String> {
    let parameters = object(vec![("tool_name", tool()), ("x", scalar().boxed())]);
    let arguments = object(vec![("tool_name", tool()), ("parameters", parameters)]);
    let params = object(vec![("name", tool()), ("arguments", prop_oneof![2 => arguments, 1 => scalar()].boxed())]);
    let id = prop_oneof![9 => Just("1".to_owned()), 1 => scalar()].boxed();
    let version = prop_oneof![20 => Just("\"2.0\"".to_owned()), 1 => scalar()].boxed();
    object(vec![("jsonrpc", version), ("id", id), ("method", method()), ("params", prop_oneof![8 => params, 1 => scalar()].boxed())])
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let batch = vec(message(), 0..4).prop_map(|messages| format!("[{}]", messages.join(",")));
    let text = prop_oneof![4 => message(), 1 => batch];
    let around = prop_oneof![10 => Just(""), 1 => select(&[" ", "\u{feff}", "\0", "{}", "//", ","][..])];
    let whole = (around.clone(), text, around).prop_map(|(before, text, after)| [before, &text, after].concat().into_bytes());
    let damage = option::weighted(0.15, (any::<Index>(), select(&b"\"\\{}[]:, \xff\xed\xc3\0a"[..]), 0..3_u8));
    (whole, damage).prop_map(|(mut body, damage)| {
        if let Some((at, byte, how)) = damage.filter(|_| !body.is_empty()) {
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => drop(body.remove(at)),
            }
        }
        body
    })
}
