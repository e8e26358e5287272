//! The tree of a document: values with their spans, aliases and merges resolved.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::Span;
use crate::model::path::{FieldPath, Step};

/// One value. What an alias stands for is shared, and keeps the place of its anchor.
#[derive(Debug)]
pub struct Node {
    /// From its first byte to its last that is not a blank.
    pub span: Span,
    /// What it is.
    pub content: Content,
    /// How many nodes it has, each alias counted in full.
    pub(super) weight: usize,
    /// How many levels it has.
    pub(super) height: usize,
}

/// What a node is.
#[derive(Debug)]
pub enum Content {
    /// Anything that is not a collection.
    Scalar(Value),
    /// A list; each entry has an empty key.
    List(Vec<Entry>),
    /// A map, in the order of the text, every key once.
    Map(Vec<Entry>),
}

/// A field of a map, or an entry of a list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key; empty in a list.
    pub key: String,
    /// Where the key stands, quotes included; where the value begins in a list.
    pub key_span: Span,
    /// The value.
    pub node: Rc<Node>,
    /// Where an alias or a merge stands that brought the value, or the whole field, in here.
    pub through: Option<Span>,
}

/// Where the field of a path stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The key of the field; the start of the value where it is an entry of a list, or the whole object.
    pub key: Span,
    /// Its value.
    pub value: Span,
    /// Whether the value is a scalar.
    pub is_scalar: bool,
    /// Whether the field is there; otherwise this is the nearest that is, above it.
    pub is_exact: bool,
    /// The alias or merge nearest to the root that brought it in.
    pub through: Option<Span>,
}

/// What a document gives.
#[derive(Debug)]
pub enum Piece {
    /// A document, or an entry of the `items` of a list such as `kubectl get -o yaml` prints.
    Object(Rc<Node>),
    /// A document that had `items`, without them.
    List(Rc<Node>),
}

impl Node {
    /// The field of a map.
    pub fn field(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The text of a field that is a string.
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.field(key)?.node.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The fields of a map, or the entries of a list.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Scalar(_) => &[],
            Content::List(entries) | Content::Map(entries) => entries,
        }
    }

    /// As the rules take it.
    pub fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(entries) => entries.iter().map(|entry| entry.node.to_value()).collect(),
            Content::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_value())).collect::<Map<_, _>>())
            }
        }
    }

    /// Where a field stands, or the nearest above it that is there.
    pub fn locate(&self, path: &FieldPath) -> Located {
        let (mut node, mut entry, mut through, mut is_exact) = (self, None, None, true);
        for step in path.steps() {
            let next = match (step, &node.content) {
                (Step::Key(key), Content::Map(_)) => node.field(key),
                (Step::Index(index), Content::List(entries)) => entries.get(*index),
                _ => None,
            };
            let Some(next) = next else {
                is_exact = false;
                break;
            };
            through = through.or_else(|| next.through.clone());
            (node, entry) = (&next.node, Some(next));
        }
        Located {
            key: entry.map_or(self.span.start..self.span.start, |entry| entry.key_span.clone()),
            value: node.span.clone(),
            is_scalar: matches!(node.content, Content::Scalar(_)),
            is_exact,
            through,
        }
    }
}
