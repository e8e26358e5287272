//! SARIF 2.1.0, as code scanning accepts it.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use serde_json::{Value, json};

use super::{Finding, Judged, Place, Report, Summary, rows};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

pub(super) struct Sarif<'w> {
    out: &'w mut dyn Write,
    separator: String,
}

impl<'w> Sarif<'w> {
    pub(super) fn new(out: &'w mut dyn Write) -> Self {
        let driver = json!({
            "name": "tollgate", "semanticVersion": env!("CARGO_PKG_VERSION"),
            "rules": rows().map(|row| json!({
                "id": row.id,
                "shortDescription": {"text": row.says},
                "fullDescription": {"text": row.why},
                "defaultConfiguration": {"level": row.severity.name()},
            })).collect::<Vec<_>>(),
        });
        let head = format!(
            "{{\"$schema\":{SCHEMA:?},\"version\":\"2.1.0\",\"runs\":[{{\"columnKind\":\"unicodeCodePoints\",\"tool\":{{\"driver\":{driver}}},\"results\":[\n"
        );
        Self { out, separator: head }
    }
}

impl Report for Sarif<'_> {
    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        for found in judged.findings {
            write!(self.out, "{}{}", std::mem::replace(&mut self.separator, ",\n".to_owned()), result(found, judged))?;
        }
        Ok(())
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        let begun = if self.separator == ",\n" { "\n" } else { &self.separator };
        let invocation = json!({"executionSuccessful": summary.unreadable == 0});
        writeln!(self.out, "{begun}],\"invocations\":[{invocation}]}}]}}")?;
        self.out.flush()
    }
}

fn result(found: &Finding, judged: &Judged<'_>) -> Value {
    let name = logical_name(found, judged);
    let mut location = json!({"logicalLocations": [{"fullyQualifiedName": name, "kind": "member"}]});
    let place = found.place.as_ref().map(physical);
    // For a file that cannot be opened, the place is its name; code scanning rejects results without one.
    let place = place.or_else(|| judged.object.is_none().then(|| json!({"artifactLocation": {"uri": uri(judged.source)}})));
    if let (Some(place), Some(map)) = (place, location.as_object_mut()) {
        map.insert("physicalLocation".to_owned(), place);
    }
    let mut result = json!({
        "ruleId": found.id,
        "ruleIndex": rows().position(|row| row.id == found.id).unwrap_or_default(),
        "level": found.severity.name(),
        "message": {"text": found.message_with_field()},
        "locations": [location],
        // Stable when lines are added above.
        "partialFingerprints": {"objectField/v1": format!("{}:{}:{name}", found.id, judged.source)},
    });
    if let (Some(reason), Some(map)) = (&found.ignored, result.as_object_mut()) {
        map.insert("suppressions".to_owned(), json!([{"kind": "external", "justification": reason}]));
    }
    result
}

/// The object and the field: `MCPServer/demo/fetch/spec.rateLimiting`.
fn logical_name(found: &Finding, judged: &Judged<'_>) -> String {
    let object = judged.object.map_or_else(|| judged.source.to_owned(), |object| format!("{}/{}", object.kind, object.qualified_name()));
    found.path.as_ref().map_or_else(|| object.clone(), |path| format!("{object}/{path}"))
}

fn physical(place: &Place) -> Value {
    json!({
        "artifactLocation": {"uri": uri(&place.file)},
        "region": {
            "startLine": place.start.line, "startColumn": place.start.column,
            "endLine": place.end.line, "endColumn": place.end.column,
        },
    })
}

/// A path as a URI reference: what has a meaning in URIs is escaped.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.trim_start_matches("./").bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uri_references() {
        assert_eq!(uri("./a b/ä.yaml"), "a%20b/%C3%A4.yaml");
        assert_eq!(uri("/tmp/c:d.yaml"), "file:///tmp/c%3Ad.yaml");
        assert_eq!(uri("<stdin>"), "%3Cstdin%3E");
    }
}
