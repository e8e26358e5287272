//! Bodies and their meaning: the table behind the tests of the envelope, and the first that other parsers are asked about.

/// What a body is, under 2025-03-26.
#[derive(Clone, Copy, Debug)]
pub enum Is {
    /// Passed on; these tools are called.
    Calling(&'static [&'static str]),
    /// Refused with HTTP 400, this JSON-RPC code and a message with this text.
    Refused(i64, &'static str),
}

use Is::{Calling, Refused};

const PASSES: Is = Calling(&[]);
const METHOD: Is = Refused(-32600, r#"could be read as "method""#);
const PARAMS: Is = Refused(-32600, r#"could be read as "params""#);
const NAME: Is = Refused(-32600, r#"could be read as "name""#);
const NOT_JSON: Is = Refused(-32700, "the body is not JSON");
const SURROGATE: Is = Refused(-32700, "half of a surrogate pair");

/// Bodies that are text.
pub const TEXTS: &[(&str, Is)] = &[
    // What no limit counts.
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","clientInfo":{"name":"x","Name":"y"}}}"#,
        PASSES,
    ),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, PASSES),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":null}"#, PASSES),
    (r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"tools/call"}}"#, PASSES),
    (r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"search"}}"#, PASSES),
    (r#"{"jsonrpc":"2.0","id":1,"method":"custom","params":["name","name"]}"#, PASSES),
    (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, PASSES),
    (r#"{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call","METHOD":"tools/call"}}"#, PASSES),
    (r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#, PASSES),
    // Calls, however they are written.
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}"#, Calling(&["search"])),
    (
        r#"{"params":{"arguments":{"name":"a","name":"b","NAME":1},"name":"search"},"method":"tools/call","id":1,"jsonrpc":"2.0"}"#,
        Calling(&["search"]),
    ),
    (" \t\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools\\/call\",\"params\":{\"name\":\"s\\u0065arch\"}} \n", Calling(&["search"])),
    (r#"{"\u006asonrpc":"2.0","id":1,"m\u0065thod":"\u0074ools/call","params":{"name":"search"}}"#, Calling(&["search"])),
    (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"search"}}"#, Calling(&["search"])),
    (r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"search"}}"#, Calling(&["search"])),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"","x":1e400}}"#, Calling(&[""])),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a:{b}\nc\ud83d\ude00\u007f"}}"#,
        Calling(&["a:{b}\nc\u{1f600}\u{7f}"]),
    ),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ſearch K"},"ſ":1,"K":2}"#, Calling(&["ſearch K"])),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":-0.0e-1,"b":[true,null,"\u0000"]}}}"#,
        Calling(&["x"]),
    ),
    // An optimizer's call.
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"tool_name":"search","parameters":{"tool_name":"x","tool_name":"y"}}}}"#,
        Calling(&["search"]),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"parameters":{"tool_name":"search"}},"name":"call_tool"}}"#,
        Calling(&["search"]),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"tool_name":null,"parameters":{"tool_name":"search"}}}}"#,
        Calling(&["search"]),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"tool_name":"","parameters":{"tool_name":7}}}}"#,
        Calling(&["call_tool"]),
    ),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool"}}"#, Calling(&["call_tool"])),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":null}}"#, Calling(&["call_tool"])),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"Tool_Name":"search"}}}"#,
        Refused(-32600, r#"could be read as "tool_name""#),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"tool_name":"a","tool_name":"b"}}}"#,
        Refused(-32600, r#"could be read as "tool_name""#),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"parameterſ":{"tool_name":"a"}}}}"#,
        Refused(-32600, r#"could be read as "parameters""#),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"parameters":{"tool_name":"a","tool_name":"b"}}}}"#,
        Refused(-32600, r#"could be read as "tool_name""#),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"tool_name":["a"]}}}"#,
        Refused(-32602, "arguments.tool_name is not a string"),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"tool_name":"a\u0000"}}}"#,
        Refused(-32600, "arguments.tool_name contains a NUL"),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"tool_name":"a","Tool_Name":"b"}}}"#,
        Calling(&["search"]),
    ),
    // FastMCP's tool search.
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"name":"search","arguments":{"name":"x","name":"y"}}}}"#,
        Calling(&["search"]),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"arguments":null,"n\u0061me":"search","tool_name":"search"}}}"#,
        Calling(&["search"]),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"name":"","tool_name":"search"}}}"#,
        Calling(&["search"]),
    ),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"name":""}}}"#, Calling(&["call_tool"])),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"tool_name":"cheap","name":"search"}}}"#,
        Refused(-32602, "are different tools"),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"parameters":{"tool_name":"cheap"},"name":"search"}}}"#,
        Refused(-32602, "are different tools"),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"name":"a","name":"b"}}}"#,
        Refused(-32600, r#"could be read as "name""#),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"name":"a","Name":"b"}}}"#,
        Refused(-32600, r#"could be read as "name""#),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"name":"a\u0000"}}}"#,
        Refused(-32600, "arguments.name contains a NUL"),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"name":"a","Name":"b"}}}"#,
        Calling(&["search"]),
    ),
    // Batches.
    (
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}},{"jsonrpc":"2.0","id":2,"method":"ping"},{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"b"}}]"#,
        Calling(&["a", "b"]),
    ),
    (r#"[{"jsonrpc":"2.0","method":"notifications/cancelled"}]"#, PASSES),
    ("[]", Refused(-32600, "the batch is empty")),
    (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},[]]"#, Refused(-32600, "it is not an object")),
    (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}]"#, METHOD),
    (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},]"#, NOT_JSON),
    // Twice, or in another case: each of these is a call to one parser and none to another.
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","METHOD":"ping","params":{"name":"search"}}"#, METHOD),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"search"}}"#, METHOD),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"search"}}"#, METHOD),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call","params":{"name":"search"}}"#, METHOD),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method\u0000":"tools/call","params":{"name":"search"}}"#, METHOD),
    (r#"{"jsonrpc":"2.0","id":1,"METHOD":"tools/call","params":{"name":"search"}}"#, METHOD),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}"#, PARAMS),
    ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\"},\"param\u{17f}\":{\"name\":\"b\"}}", PARAMS),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"param\u017f":{"name":"b"}}"#, PARAMS),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#, NAME),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#, NAME),
    (r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"a","NAME":"b"}}"#, NAME),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{},"Arguments":{}}}"#,
        Refused(-32600, r#"could be read as "arguments""#),
    ),
    (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, Refused(-32600, r#"could be read as "id""#)),
    (r#"{"jsonrpc":"2.0","İD":1,"method":"ping"}"#, Refused(-32600, r#"could be read as "id""#)),
    (r#"{"jsonrpc":"2.0","JSONRPC":"2.0","id":1,"method":"ping"}"#, Refused(-32600, r#"could be read as "jsonrpc""#)),
    (
        r#"{"jsonrpc":"2.0","id":1,"result":{},"__proto__":{"method":"tools/call","params":{"name":"search"}}}"#,
        Refused(-32600, "__proto__"),
    ),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","__proto__":{"name":"b"}}}"#, Refused(-32600, "__proto__")),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"},"result":{}}"#,
        Refused(-32600, "a method, and a result or error"),
    ),
    // NUL, at which C's strings end.
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call\u0000x","params":{"name":"search"}}"#, Refused(-32600, "method contains a NUL")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search\u0000x"}}"#, Refused(-32600, "params.name contains a NUL")),
    // JSON that is no JSON-RPC.
    ("{}", Refused(-32600, r#"send "jsonrpc": "2.0""#)),
    ("null", Refused(-32600, "it is not an object")),
    ("\"tools/call\"", Refused(-32600, "it is not an object")),
    ("17", Refused(-32600, "it is not an object")),
    (r#"{"id":1,"method":"tools/call","params":{"name":"search"}}"#, Refused(-32600, r#"send "jsonrpc": "2.0""#)),
    (r#"{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"search"}}"#, Refused(-32600, r#"send "jsonrpc": "2.0""#)),
    (r#"{"jsonrpc":2.0,"id":1,"method":"tools/call","params":{"name":"search"}}"#, Refused(-32600, r#"send "jsonrpc": "2.0""#)),
    (r#"{"jsonrpc":"2.0","id":1}"#, Refused(-32600, "no method, result or error")),
    (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, Refused(-32600, "method is not a string")),
    (r#"{"jsonrpc":"2.0","id":1,"method":["tools/call"],"params":{"name":"search"}}"#, Refused(-32600, "method is not a string")),
    (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, Refused(-32600, "neither a string nor a number")),
    (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, Refused(-32600, "neither a string nor a number")),
    // Calls of nothing.
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, Refused(-32602, "params.name is missing")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["search"]}"#, Refused(-32602, "params.name is missing")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"{\"name\":\"search\"}"}"#, Refused(-32602, "params.name is missing")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{}}}"#, Refused(-32602, "params.name is missing")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["search"]}}"#, Refused(-32602, "params.name is not a string")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":null}}"#, Refused(-32602, "params.name is not a string")),
    // Not JSON, though some parsers are lenient.
    ("", NOT_JSON),
    (" \n", NOT_JSON),
    ("{", NOT_JSON),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#, NOT_JSON),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, NOT_JSON),
    ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\0", NOT_JSON),
    ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\u{a0}", NOT_JSON),
    ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\0ng\"}", NOT_JSON),
    ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\nng\"}", NOT_JSON),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#, NOT_JSON),
    (r#"{"jsonrpc":"2.0","id":01,"method":"ping"}"#, NOT_JSON),
    (r#"{"jsonrpc":"2.0","id":+1,"method":"ping"}"#, NOT_JSON),
    (r#"{"jsonrpc":"2.0","id":NaN,"method":"ping"}"#, NOT_JSON),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":Infinity}}"#, NOT_JSON),
    (r#"{'jsonrpc':'2.0','id':1,'method':'ping'}"#, NOT_JSON),
    (r#"{jsonrpc:"2.0",id:1,method:"ping"}"#, NOT_JSON),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping"/*,"method":"tools/call"*/}"#, NOT_JSON),
    (r#"{"jsonrpc":"2.0","id":1,"method":"\ping"}"#, NOT_JSON),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1,,2]}"#, NOT_JSON),
    ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", NOT_JSON),
    // Half surrogate pairs, wherever they stand.
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping\ud800"}"#, SURROGATE),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\udc00search"}}"#, SURROGATE),
    (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method\ud800":"tools/call"}"#, SURROGATE),
    (r#"{"jsonrpc":"2.0","id":"\ud83d","method":"ping"}"#, SURROGATE),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"text":"cut \ud83d"}}}"#, SURROGATE),
];

/// Bodies that are not UTF-8, or only seem to be.
pub fn bytes() -> Vec<(Vec<u8>, Is)> {
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let utf_16 = |to_bytes: fn(u16) -> [u8; 2]| ping.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
    let latin_1 = [&br#"{"jsonrpc":"2.0","id":1,"method":"p"#[..], b"\xefng\"}"].concat();
    let overlong = [&br#"{"jsonrpc":"2.0","id":1,"method":"ping","#[..], b"\"\xc1\xadethod\":\"tools/call\"}"].concat();
    let escaped_surrogate = [&br#"{"jsonrpc":"2.0","id":1,"method":"p"#[..], b"\xed\xa0\xbd\"}"].concat();
    vec![
        ([b"\xef\xbb\xbf", ping.as_bytes()].concat(), Refused(-32700, "byte order mark")),
        (utf_16(u16::to_le_bytes), NOT_JSON),
        (utf_16(u16::to_be_bytes), NOT_JSON),
        ([b"\xff\xfe".to_vec(), utf_16(u16::to_le_bytes)].concat(), Refused(-32700, "byte 0 is not UTF-8")),
        (latin_1, Refused(-32700, "is not UTF-8")),
        (overlong, Refused(-32700, "is not UTF-8")),
        (escaped_surrogate, Refused(-32700, "is not UTF-8")),
        (nested("{\"a\":", 100_000, "}"), Refused(-32700, "nested deeper than 1000 levels")),
        (nested("[", 100_000, "]"), Refused(-32700, "nested deeper than 1000 levels")),
        (nested("[", 998, "]"), Refused(-32700, "nested deeper than 1000 levels")),
        (nested("[", 997, "]"), Calling(&["deep"])),
        (nested("{\"a\":", 997, "}"), Calling(&["deep"])),
        (nested("[{\"a\":", 65, "}]"), Calling(&["deep"])),
    ]
}

/// A call with an argument nested so deep.
fn nested(open: &str, depth: usize, close: &str) -> Vec<u8> {
    let argument = [open.repeat(depth).as_str(), "1", &close.repeat(depth)].concat();
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"deep","arguments":{{"a":{argument}}}}}}}"#).into_bytes()
}

/// All of them.
pub fn all() -> Vec<(Vec<u8>, Is)> {
    TEXTS.iter().map(|(body, is)| (body.as_bytes().to_vec(), *is)).chain(bytes()).collect()
}
