//! Parses a body into an envelope, or rejects it.
//!
//! Each step relies on what the previous one has established: the text, an object's members, a message, the tool that it calls, and finally
//! that the headers match.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use super::{
    envelope::{Envelope, Id, Message, Part},
    headers::Headers,
    id_scan::id_of,
    members::{for_each, not_json, pick, string},
    outline::Outline,
    refusal::{Fault, Refusal, clip},
    revision::Revision,
    text,
};

/// The one method that limits count.
pub const TOOLS_CALL: &str = "tools/call";

/// vMCP's optimizer and FastMCP's tool search offer this tool instead of all others.
const CALL_TOOL: &str = "call_tool";

/// Methods whose target `Mcp-Name` repeats, and the parameter with the target.
const NAMED_BY: [(&str, Named); 3] = [(TOOLS_CALL, Named::Name), ("prompts/get", Named::Name), ("resources/read", Named::Uri)];

#[derive(Clone, Copy)]
enum Named {
    Name,
    Uri,
}

/// Reads the bodies that clients POST.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    optimizer: bool,
}

impl Default for Reader {
    /// For any server, behind an optimizer or not.
    fn default() -> Self {
        Self { optimizer: true }
    }
}

impl Reader {
    /// Whether `call_tool` is that of vMCP's optimizer or of FastMCP's tool search, which call the tool named in its arguments. Set it to
    /// false for a server whose own tool happens to have this name: its callers could otherwise choose which tool's tokens they take.
    #[must_use]
    pub fn optimizer(self, optimizer: bool) -> Self {
        Self { optimizer }
    }

    /// Reads the body of a POST. Forward the body unchanged, or not at all.
    ///
    /// # Errors
    /// A body that some parser could read as a different message than this one does, or that is not a message. It must not be forwarded.
    pub fn read(&self, headers: &Headers<'_>, body: &[u8]) -> Result<Envelope, Refusal> {
        self.read_certain(headers, body).map_err(|refusal| refusal.with_id_from(body))
    }

    fn read_certain(&self, headers: &Headers<'_>, body: &[u8]) -> Result<Envelope, Refusal> {
        let revision = headers.revision()?;
        headers.check_media_type()?;
        if let Some(outline) = Outline::read(body, MEMBERS, OF_PARAMS) {
            let wire = Wire::of(outline.message, |_| Ok(outline.params))?;
            return self.envelope(headers, revision, wire);
        }
        let body = text::check(body)?;
        let message = match body.trim_start_matches([' ', '\t', '\r', '\n']).chars().next() {
            Some('[') if revision.has_batches() => self.read_batch(body)?,
            Some('[') => {
                // Broken JSON is reported as such.
                for_each(body, |_| Ok(()))?;
                return Err(Fault::Batch(revision).into());
            }
            _ => return self.envelope(headers, revision, Wire::read(body)?),
        };
        Ok(Envelope { revision, is_declared: headers.protocol_version.is_some(), message })
    }

    /// Of a single message.
    fn envelope(&self, headers: &Headers<'_>, revision: Revision, wire: Wire<'_>) -> Result<Envelope, Refusal> {
        let id = wire.id.clone();
        let with_id = |fault| Refusal { fault, id: id.clone() };
        if revision.has_routing_headers() {
            wire.agrees_with(headers).map_err(with_id)?;
        }
        let message = Message::Single(self.part(wire).map_err(with_id)?);
        Ok(Envelope { revision, is_declared: headers.protocol_version.is_some(), message })
    }

    fn read_batch(&self, body: &str) -> Result<Message, Fault> {
        let mut parts = Vec::new();
        for_each(body, |entry| {
            parts.push(self.part(Wire::read(entry.get())?)?);
            Ok(())
        })?;
        if parts.is_empty() { Err(Fault::NotJsonRpc("the batch is empty; send at least one message")) } else { Ok(Message::Batch(parts)) }
    }

    fn part(&self, wire: Wire<'_>) -> Result<Part, Fault> {
        let tool = if wire.method.as_deref() == Some(TOOLS_CALL) { Some(self.tool(&wire)?) } else { None };
        Ok(Part { tool, id: wire.id })
    }

    fn tool(&self, wire: &Wire<'_>) -> Result<String, Fault> {
        let name = wire.name.ok_or(Fault::NoTool("params.name is missing"))?;
        let name = plain_text(name, "params.name")?.ok_or(Fault::NoTool("params.name is not a string"))?;
        let inner = if self.optimizer && name == CALL_TOOL { inner_tool(wire.arguments)? } else { None };
        Ok(inner.unwrap_or(name))
    }
}

/// The tool that is called in the end: `tool_name` for vMCP's optimizer, `name` for FastMCP's tool search. It is not known which of them is
/// behind the proxy, so the two must not differ.
fn inner_tool(arguments: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(arguments) = arguments.filter(|value| is_object(value)) else { return Ok(None) };
    let [tool_name, parameters, name] = pick(arguments, ["tool_name", "parameters", "name"])?;
    let optimizers = optimizers_tool(tool_name, parameters)?;
    let name = name.map(|value| plain_text(value, "arguments.name")).transpose()?.flatten().filter(|name| !name.is_empty());
    match (optimizers, name) {
        (Some(tool_name), Some(name)) if tool_name != name => {
            Err(Fault::NoTool("arguments.tool_name and arguments.name are different tools; send one of them"))
        }
        (tool_name, name) => Ok(tool_name.or(name)),
    }
}

/// The tool that vMCP's optimizer calls: `tool_name`, or, as models often write it, the `tool_name` inside `parameters`. The optimizer uses
/// the second only if the first is missing or empty.
fn optimizers_tool(tool_name: Option<&str>, parameters: Option<&str>) -> Result<Option<String>, Fault> {
    if let Some(outer) = tool_name.filter(|value| *value != "null") {
        let outer = plain_text(outer, "arguments.tool_name")?.ok_or(Fault::NoTool("arguments.tool_name is not a string"))?;
        if !outer.is_empty() {
            return Ok(Some(outer));
        }
    }
    let Some(parameters) = parameters.filter(|value| is_object(value)) else { return Ok(None) };
    let [nested] = pick(parameters, ["tool_name"])?;
    let nested = nested.map(|value| plain_text(value, "arguments.parameters.tool_name")).transpose()?;
    Ok(nested.flatten().filter(|name| !name.is_empty()))
}

/// A string without NUL; `None` for other values.
fn plain_text(value: &str, what: &'static str) -> Result<Option<String>, Fault> {
    match string(value) {
        Some(text) if text.contains('\0') => Err(Fault::Nul(what)),
        text => Ok(text),
    }
}

fn is_object(value: &str) -> bool {
    value.starts_with('{')
}

/// One message as it appears in the text, with unambiguous members.
struct Wire<'a> {
    /// `None` in a response.
    method: Option<String>,
    /// The id of the expected response.
    id: Option<Id>,
    name: Option<&'a str>,
    uri: Option<&'a str>,
    arguments: Option<&'a str>,
}

/// The relevant members of a message, and those of its `params`.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
const OF_PARAMS: [&str; 3] = ["name", "uri", "arguments"];

impl<'a> Wire<'a> {
    fn read(message: &'a str) -> Result<Self, Fault> {
        if !message.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
            // Broken JSON is reported as such.
            serde_json::from_str::<&RawValue>(message).map_err(not_json)?;
            return Err(Fault::NotJsonRpc("it is not an object"));
        }
        Self::of(pick(message, MEMBERS)?, |params| pick(params, OF_PARAMS))
    }

    fn of(
        [jsonrpc, id, method, params, result, error]: [Option<&'a str>; MEMBERS.len()],
        of_params: impl FnOnce(&'a str) -> Result<[Option<&'a str>; OF_PARAMS.len()], Fault>,
    ) -> Result<Self, Fault> {
        if jsonrpc.and_then(string).as_deref() != Some("2.0") {
            return Err(Fault::NotJsonRpc("send \"jsonrpc\": \"2.0\""));
        }
        let id = id.map(id_of).transpose()?;
        let method = match (method, result.or(error)) {
            (Some(method), None) => plain_text(method, "method")?.ok_or(Fault::NotJsonRpc("method is not a string"))?,
            (None, Some(_)) => return Ok(Self { method: None, id: None, name: None, uri: None, arguments: None }),
            (None, None) => return Err(Fault::NotJsonRpc("it has no method, result or error")),
            (Some(_), Some(_)) => return Err(Fault::NotJsonRpc("it has a method, and a result or error; send one of them")),
        };
        let [name, uri, arguments] = match params.filter(|params| is_object(params)) {
            Some(params) => of_params(params)?,
            None => [None; 3],
        };
        Ok(Self { method: Some(method), id, name, uri, arguments })
    }

    /// Checks that `Mcp-Method` and `Mcp-Name` match the body. Notifications may omit them.
    fn agrees_with(&self, headers: &Headers<'_>) -> Result<(), Fault> {
        let method = self.method.as_deref();
        let needed = self.id.is_some() || method == Some(TOOLS_CALL);
        agree("Mcp-Method", headers.method.map(str::to_owned), method, needed)?;
        let named_by = NAMED_BY.iter().find(|(named, _)| Some(*named) == method).map(|(_, by)| *by);
        let name = match named_by {
            Some(Named::Name) => self.name.and_then(string),
            Some(Named::Uri) => self.uri.and_then(string),
            None => return Ok(()),
        };
        let sent = headers.name.map(decode_header).transpose()?;
        agree("Mcp-Name", sent, name.as_deref(), needed && name.is_some())
    }
}

fn agree(header: &'static str, sent: Option<String>, body: Option<&str>, needed: bool) -> Result<(), Fault> {
    let found = match sent {
        Some(sent) if Some(sent.as_str()) == body => return Ok(()),
        Some(sent) => format!("is {:?}", clip(&sent)),
        None if needed => "is missing".to_owned(),
        None => return Ok(()),
    };
    let body = body.map_or_else(|| "none".to_owned(), |body| format!("{:?}", clip(body)));
    Err(Fault::HeaderMismatch { header, found, body })
}

/// Decodes the value of `Mcp-Name`: plain, or `=?base64?`, the encoded text and `?=`.
fn decode_header(value: &str) -> Result<String, Fault> {
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else { return Ok(value.to_owned()) };
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.ok_or_else(|| Fault::HeaderMismatch {
        header: "Mcp-Name",
        found: format!("is {:?}, which is not base64 of UTF-8", clip(value)),
        body: "another text".to_owned(),
    })
}
