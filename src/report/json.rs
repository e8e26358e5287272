//! One JSON object: `findings`, one a line, then `summary`.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Finding, Judged, Object, Report, Summary};

pub(super) struct Json<'w> {
    out: &'w mut dyn Write,
    separator: &'static str,
}

impl<'w> Json<'w> {
    pub(super) fn new(out: &'w mut dyn Write) -> Self {
        Self { out, separator: "{\"findings\":[\n" }
    }
}

impl Report for Json<'_> {
    fn judged(&mut self, judged: &Judged<'_>) -> io::Result<()> {
        for found in judged.findings {
            write!(self.out, "{}{}", std::mem::replace(&mut self.separator, ",\n"), finding(found, judged))?;
        }
        Ok(())
    }

    fn end(&mut self, summary: &Summary) -> io::Result<()> {
        let begun = if self.separator == ",\n" { "\n" } else { self.separator };
        writeln!(self.out, "{begun}],\"summary\":{}}}", serde_json::to_string(summary)?)?;
        self.out.flush()
    }
}

fn finding(found: &Finding, judged: &Judged<'_>) -> Value {
    let mut row =
        json!({"rule": found.id, "severity": found.severity.name(), "message": found.problem.to_string(), "source": judged.source});
    let mut put = |key: &str, value: Option<Value>| {
        if let (Some(map), Some(value)) = (row.as_object_mut(), value) {
            map.insert(key.to_owned(), value);
        }
    };
    put("path", found.path.as_ref().map(|path| path.to_string().into()));
    put("object", judged.object.map(object));
    put("line", found.place.as_ref().map(|place| place.start.line.into()));
    put("column", found.place.as_ref().map(|place| place.start.column.into()));
    put("endColumn", found.place.as_ref().map(|place| place.end.column.into()));
    put("ignored", found.ignored.as_deref().map(Value::from));
    row
}

fn object(object: &Object) -> Value {
    json!({"kind": object.kind, "namespace": object.namespace, "name": object.name})
}
