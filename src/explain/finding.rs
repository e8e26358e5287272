//! Findings that are not rules, and the id that a mistyped one was meant to be.

use serde::Serialize;

use super::text::paragraph;
use crate::{
    model::spelling::nearest,
    report::{Row, rows},
};

/// A finding that is not a rule.
#[derive(Debug, Serialize)]
pub struct FindingExplained {
    id: &'static str,
    level: &'static str,
    says: &'static str,
    why: &'static str,
}

impl From<&'static Row> for FindingExplained {
    fn from(row: &'static Row) -> Self {
        Self { id: row.id, level: row.severity.name(), says: row.says, why: row.why }
    }
}

impl FindingExplained {
    /// As text, for people.
    pub fn human(&self) -> String {
        format!("{} ({}): {}\n\nWhy\n{}", self.id, self.level, self.says, paragraph(self.why, 2))
    }
}

/// The rule that was probably meant.
pub fn meant(what: &str) -> String {
    let ids: Vec<_> = rows().map(|row| row.id).collect();
    // TG2 is TG002.
    let number = what.get(2..).and_then(|number| number.parse::<u16>().ok());
    let padded = number.map_or_else(|| what.to_owned(), |number| format!("TG{number:03}"));
    nearest(&padded, &ids).map_or_else(|| "`tollgate explain` lists the rules".to_owned(), |id| format!("did you mean {id}?"))
}
