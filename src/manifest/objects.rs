//! All objects of a text at once, for readers that need no places.

use serde_json::Value;
use thiserror::Error;

use super::{Broken, Piece, Position, Raw, Splitter, Text, read};

/// Why a text could not be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {}, column {}: {message}", .at.line, .at.column)]
#[non_exhaustive]
pub struct Unreadable {
    /// The place in the whole text.
    pub at: Position,
    /// What is wrong.
    pub message: String,
}

/// Every object of a text, as `kubectl` reads it.
///
/// ```
/// let objects = tollgate::manifest::objects(b"maxTokens: 010\n---\n{\"maxTokens\": 8}\n")?;
/// assert_eq!(objects[0], objects[1]);
/// # Ok::<(), tollgate::manifest::Unreadable>(())
/// ```
///
/// # Errors
/// At the first document that cannot be read.
pub fn objects(text: impl AsRef<[u8]>) -> Result<Vec<Value>, Unreadable> {
    let mut splitter = Splitter::default();
    let mut objects = Vec::new();
    for line in text.as_ref().split_inclusive(|byte| *byte == b'\n') {
        if let Some(raw) = splitter.line(line) {
            document(raw, &mut objects)?;
        }
    }
    document(splitter.end(), &mut objects)?;
    Ok(objects)
}

fn document(raw: Raw, objects: &mut Vec<Value>) -> Result<(), Unreadable> {
    let unreadable = |text: &Text, broken: Broken| Unreadable { at: text.position(broken.at), message: broken.to_string() };
    let text = raw.text().map_err(|(text, broken)| unreadable(&text, broken))?;
    let end = read(text.as_str(), &mut |piece| {
        if let Piece::Object(node) = piece {
            objects.push(node.to_value());
        }
    });
    end.map_err(|broken| unreadable(&text, broken))
}
