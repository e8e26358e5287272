//! The explanation of one argument of `tollgate explain`: a rule, another finding, or the objects of a file.

use serde::Serialize;

use super::{
    finding::FindingExplained,
    limits::{Explained, Outcome},
    rule::RuleExplained,
};
use crate::{
    manifest::{MARK, Piece, Position, Raw, gives_ours, kind_and_version, read, template},
    model::subject::Subject,
};

/// The explanation of one argument.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Of a rule.
    Rule(RuleExplained),
    /// Of a finding that is not a rule.
    Finding(FindingExplained),
    /// Of a file.
    File(FileExplained),
}

/// The objects of a file.
#[derive(Debug, Serialize)]
pub struct FileExplained {
    /// Its name.
    pub file: String,
    /// Its objects of our kinds.
    pub objects: Vec<Explained>,
    /// Objects of other kinds.
    skipped: usize,
}

impl Answer {
    /// As text, for people.
    pub fn human(&self) -> String {
        match self {
            Self::Rule(rule) => rule.human(),
            Self::Finding(found) => found.human(),
            Self::File(file) => file.human(),
        }
    }

    /// Whether a rule denies limits of the file.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::File(file) if file.objects.iter().any(|object| matches!(object.outcome, Outcome::Denied { .. })))
    }
}

impl FileExplained {
    /// A file of which nothing was read yet.
    pub fn new(file: String) -> Self {
        Self { file, objects: Vec::new(), skipped: 0 }
    }

    /// Explains every object of a document. One that cannot be read and does not name our kinds is not ours.
    ///
    /// # Errors
    /// With a place and a reason, when it cannot be read and may be ours.
    pub fn add(&mut self, raw: Raw, users: u32) -> Result<(), (Position, String)> {
        let mut each = |piece| {
            let Piece::Object(node) = piece else { return };
            match kind_and_version(&node) {
                Some((kind, _)) => self.objects.push(Explained::new(Subject::new(kind, &node.to_value()), users)),
                None => self.skipped += 1,
            }
        };
        let (text, end) = match raw.text() {
            Ok(text) => {
                let end = read(text.as_str(), &mut each);
                (text, end)
            }
            Err((text, broken)) => (text, Err(broken)),
        };
        match end {
            Err(broken) if text.as_str().contains(MARK) && (template(text.as_str()).is_none() || gives_ours(text.as_str())) => {
                Err((text.position(broken.at), broken.to_string()))
            }
            Err(_) => {
                self.skipped += 1;
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn human(&self) -> String {
        let mut parts: Vec<_> = self.objects.iter().map(Explained::human).collect();
        if self.objects.is_empty() {
            parts.push(format!("{}: no MCPServer or VirtualMCPServer ({} other objects)\n", self.file, self.skipped));
        }
        parts.join("\n")
    }
}
