//! From events of the YAML parser to nodes.

use std::{collections::HashMap, rc::Rc};

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, StrInput, Tag, options};
use serde_json::Value;

use super::{Broken, Content, Entry, Node, Piece, Span, clean::Clean, fields::Fields, items, json, scalar};
use crate::model::problem::Problem;

/// Aliases may not blow a document up to more than this, nor nest it deeper.
const MOST_NODES: usize = 1_000_000;
const MOST_LEVELS: usize = 300;

/// Reads every document of a text; each object goes to `sink` as soon as it is complete, and is not kept.
///
/// # Errors
/// At the first fault of the text; what came before it has been given.
pub fn read(text: &str, sink: &mut dyn FnMut(Piece)) -> Result<(), Broken> {
    match json::objects(text) {
        Some(objects) => objects.into_iter().try_for_each(|object| {
            let clean = Clean::json(text.get(object.clone()).unwrap_or_default());
            read_clean(text, object.start, &clean, sink)
        }),
        None => read_clean(text, 0, &Clean::yaml(text), sink),
    }
}

/// Reads a part of a text that begins so many bytes into it.
fn read_clean(text: &str, offset: usize, clean: &Clean<'_>, sink: &mut dyn FnMut(Piece)) -> Result<(), Broken> {
    let mut options: Options = options! { simple_key_max_lookahead: 64 * 1024 };
    options.set_emit_comments(false);
    let events = Parser::new_from_str_with_options(&clean.text, options);
    let mut reader = Reader { text, offset, clean, events, anchors: HashMap::new() };
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(()),
            Event::DocumentStart(..) => reader.anchors.clear(),
            Event::StreamStart | Event::DocumentEnd => {}
            event => reader.document(event, span, sink)?,
        }
    }
}

struct Reader<'t> {
    /// The whole text, which spans are of.
    text: &'t str,
    offset: usize,
    clean: &'t Clean<'t>,
    events: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Rc<Node>>,
}

/// A node where it is used: `through` is the alias that stands for it.
struct Used {
    node: Rc<Node>,
    through: Option<Span>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Broken> {
        let (event, span) =
            self.events.next_event().unwrap_or(Ok((Event::StreamEnd, granit_parser::Span::default()))).map_err(|error| {
                let Broken { at, problem } = broken(&error, &self.clean.text);
                Broken { at: self.offset + self.clean.at(at), problem }
            })?;
        let span = self.clean.original(&span.byte_range().unwrap_or_default());
        Ok((event, self.offset + span.start..self.offset + span.end))
    }

    /// The root of a document.
    fn document(&mut self, event: Event<'t>, span: Span, sink: &mut dyn FnMut(Piece)) -> Result<(), Broken> {
        let Event::MappingStart(_, anchor, _) = event else {
            let root = self.node(event, span)?.node;
            if !matches!(root.content, Content::Scalar(Value::Null)) {
                sink(Piece::Object(root));
            }
            return Ok(());
        };
        // Items without a kind are held until that of the list is known, which may come after them.
        let mut untyped = None;
        let root = self.map(anchor, span, &mut |reader, key, event| {
            let holds_items = key == items::KEY && matches!(event, Event::SequenceStart(..));
            if holds_items {
                reader.items(untyped.get_or_insert_default(), sink)?;
            }
            Ok(holds_items)
        })?;
        match untyped {
            Some(untyped) => {
                untyped.iter().for_each(|item| items::flatten(&items::typed(item, &root), sink));
                sink(Piece::List(root));
            }
            None => sink(Piece::Object(root)),
        }
        Ok(())
    }

    fn items(&mut self, untyped: &mut Vec<Rc<Node>>, sink: &mut dyn FnMut(Piece)) -> Result<(), Broken> {
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(());
            }
            let node = self.node(event, span)?.node;
            if items::is_untyped(&node) { untyped.push(node) } else { items::flatten(&node, sink) }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Used, Broken> {
        let node = match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id) else {
                    return Err(Broken::new(span.start, "this alias stands inside of what it stands for"));
                };
                return Ok(Used { node: node.clone(), through: Some(span) });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = Node { span, content: Content::Scalar(value(&text, style, tag.as_deref())), weight: 1, height: 1 };
                self.anchored(anchor, node)
            }
            Event::SequenceStart(_, anchor, _) => self.list(anchor, span)?,
            Event::MappingStart(_, anchor, _) => self.map(anchor, span, &mut |_, _, _| Ok(false))?,
            _ => return Err(Broken::new(span.start, "a value is expected here")),
        };
        Ok(Used { node, through: None })
    }

    fn list(&mut self, anchor: usize, span: Span) -> Result<Rc<Node>, Broken> {
        let mut entries = Vec::new();
        loop {
            let (event, here) = self.next()?;
            if event == Event::SequenceEnd {
                return self.collection(anchor, span, here, entries, Content::List);
            }
            let key_span = here.start..here.start;
            let Used { node, through } = self.node(event, here)?;
            entries.push(Entry { key: String::new(), key_span, node, through });
        }
    }

    /// `takes` may read the value of a field itself, which then is not in the map.
    fn map(&mut self, anchor: usize, span: Span, takes: &mut Takes<'_, 't>) -> Result<Rc<Node>, Broken> {
        let mut fields = Fields::default();
        loop {
            let (event, key_span) = self.next()?;
            if event == Event::MappingEnd {
                return self.collection(anchor, span, key_span, fields.entries, Content::Map);
            }
            let key = self.key(event, &key_span)?;
            let (event, value_span) = self.next()?;
            if takes(self, &key.text, &event)? {
                continue;
            }
            let used = self.node(event, value_span.clone())?;
            if key.is_merge {
                fields.merge(&used.node, &value_span)?;
            } else {
                fields.add(Entry { key: key.text, key_span, node: used.node, through: used.through })?;
            }
        }
    }

    fn key(&mut self, event: Event<'t>, span: &Span) -> Result<Key, Broken> {
        let no_text = || Broken::new(span.start, "a key must be text");
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = value(&text, style, tag.as_deref());
                let is_merge = style == ScalarStyle::Plain && text == "<<";
                if anchor > 0 {
                    self.anchored(anchor, Node { span: span.clone(), content: Content::Scalar(value.clone()), weight: 1, height: 1 });
                }
                let text = match value {
                    Value::String(text) => text,
                    Value::Null => return Err(no_text()),
                    value => value.to_string(),
                };
                Ok(Key { text, is_merge })
            }
            Event::Alias(id) => match self.anchors.get(&id).map(|node| &node.content) {
                Some(Content::Scalar(Value::String(text))) => Ok(Key { text: text.clone(), is_merge: false }),
                _ => Err(no_text()),
            },
            _ => Err(no_text()),
        }
    }

    fn collection(
        &mut self,
        anchor: usize,
        start: Span,
        end: Span,
        entries: Vec<Entry>,
        content: fn(Vec<Entry>) -> Content,
    ) -> Result<Rc<Node>, Broken> {
        let weight = entries.iter().fold(1_usize, |sum, entry| sum.saturating_add(entry.node.weight));
        let height = 1 + entries.iter().map(|entry| entry.node.height).max().unwrap_or_default();
        if weight > MOST_NODES || height > MOST_LEVELS {
            return Err(Broken::new(start.start, format!("aliases make this more than {MOST_NODES} values, or {MOST_LEVELS} levels deep")));
        }
        // A block ends after the blank lines and comments that follow it; its last value is what it ends with.
        let last = entries.iter().map(|entry| entry.through.as_ref().map_or(entry.node.span.end, |through| through.end)).max();
        let end = if end.is_empty() { last.unwrap_or(start.end) } else { end.end };
        Ok(self.anchored(anchor, Node { span: start.start..end, content: content(entries), weight, height }))
    }

    /// Notes a node that has an anchor.
    fn anchored(&mut self, anchor: usize, mut node: Node) -> Rc<Node> {
        let written = self.text.get(node.span.clone()).unwrap_or_default();
        node.span.end = node.span.start + written.trim_end().len();
        let node = Rc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        node
    }
}

type Takes<'f, 't> = dyn FnMut(&mut Reader<'t>, &str, &Event<'t>) -> Result<bool, Broken> + 'f;

struct Key {
    text: String,
    is_merge: bool,
}

/// The value of a scalar, by its tag where that is one of YAML's own.
fn value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_plain = style == ScalarStyle::Plain;
    match tag.map(|tag| tag.core_suffix()) {
        Some(Some("str")) => Value::String(text.to_owned()),
        Some(Some(_)) => scalar::plain(text),
        // A custom tag makes text.
        Some(None) => Value::String(text.to_owned()),
        None if is_plain => scalar::plain(text),
        None => Value::String(text.to_owned()),
    }
}

fn broken(error: &ScanError, text: &str) -> Broken {
    let at = error.marker().byte_offset().unwrap_or_default();
    match error.kind() {
        ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation | ErrorKind::TabInPlainScalar => {
            // The tab may stand after the text that it ended.
            let tab = text.get(at..).and_then(|rest| rest.find('\t')).unwrap_or_default();
            Broken::new(at + tab, Problem::new("a tab in the indentation").advice("YAML is indented with spaces"))
        }
        ErrorKind::UnknownAnchor => Broken::new(at, "this alias has no anchor above it in its document"),
        _ => Broken::new(at, error.info().to_owned()),
    }
}
