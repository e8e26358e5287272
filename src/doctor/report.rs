//! What was found: a note for each look, and what to do where it is not well.

use serde::Serialize;

/// The version that looks.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Problem,
    /// It could not be determined.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// How it is.
    pub state: State,
    /// Which look: stable.
    pub check: &'static str,
    /// What was found.
    pub says: String,
    /// What to do about it.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

/// Notes as they are taken.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    pub(super) fn ok(&mut self, check: &'static str, says: impl Into<String>) {
        self.take(State::Ok, check, says.into(), None);
    }

    pub(super) fn problem(&mut self, check: &'static str, says: impl Into<String>, todo: impl Into<String>) {
        self.take(State::Problem, check, says.into(), Some(todo.into()));
    }

    pub(super) fn unknown(&mut self, check: &'static str, says: impl Into<String>, todo: impl Into<String>) {
        self.take(State::Unknown, check, says.into(), Some(todo.into()));
    }

    /// Two hooks that share something share what is said of it.
    fn take(&mut self, state: State, check: &'static str, says: String, todo: Option<String>) {
        let note = Note { state, check, says, todo };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// How many notes there are, to be compared with later.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// All notes.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version that looked.
    pub tollgate: &'static str,
    /// How many notes are problems.
    pub problems: usize,
    /// How many notes are unknown.
    pub unknown: usize,
    /// All notes, in the order of the looks.
    pub notes: Vec<Note>,
}

impl Report {
    pub(super) fn new(Notes(notes): Notes) -> Self {
        let count = |state| notes.iter().filter(|note| note.state == state).count();
        Self { tollgate: VERSION, problems: count(State::Problem), unknown: count(State::Unknown), notes }
    }

    /// As text, for people.
    pub fn human(&self) -> String {
        let mut out = String::new();
        for note in &self.notes {
            let state = match note.state {
                State::Ok => "ok",
                State::Problem => "PROBLEM",
                State::Unknown => "unknown",
            };
            out.push_str(&format!("{state:7}  {:12}  {}\n", note.check, note.says));
            out.extend(note.todo.iter().map(|todo| format!("{:23}-> {todo}\n", "")));
        }
        let problems = if self.problems == 1 { "problem" } else { "problems" };
        out.push_str(&match (self.problems, self.unknown) {
            (0, 0) => "All is well.\n".to_owned(),
            (found, 0) => format!("{found} {problems}.\n"),
            (found, unknown) => format!("{found} {problems}; {unknown} could not be looked at.\n"),
        });
        out
    }
}
