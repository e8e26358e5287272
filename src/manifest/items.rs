//! The items of a list: those of an `MCPServerList` need neither kind nor version, and a list may hold lists.

use std::rc::Rc;

use serde_json::Value;

use super::{Content, Entry, Node, Piece};

/// The field of a list that holds its items.
pub(super) const KEY: &str = "items";

const KIND: &str = "kind";
const VERSION: &str = "apiVersion";

/// Whether an item takes its kind and version from its list; as for `kubectl`, one of the two is enough to have its own.
pub(super) fn is_untyped(item: &Node) -> bool {
    matches!(item.content, Content::Map(_)) && is_empty(item, KIND) && is_empty(item, VERSION)
}

fn is_empty(item: &Node, key: &str) -> bool {
    item.text(key).is_none_or(str::is_empty)
}

/// An item with the kind and the version that its list gives to it.
pub(super) fn typed(item: &Rc<Node>, list: &Node) -> Rc<Node> {
    let own = item.entries().iter().filter(|entry| entry.key != KIND && entry.key != VERSION).cloned();
    let kind = list.field(KIND).and_then(|entry| {
        let kind = list.text(KIND)?.strip_suffix("List")?.to_owned();
        let node = Rc::new(Node { span: entry.node.span.clone(), content: Content::Scalar(Value::String(kind)), weight: 1, height: 1 });
        Some(Entry { node, ..entry.clone() })
    });
    let entries: Vec<_> = own.chain(list.field(VERSION).cloned()).chain(kind).collect();
    Rc::new(Node { span: item.span.clone(), content: Content::Map(entries), weight: item.weight + 2, height: item.height })
}

/// Gives an item, or the items of an item that is a list itself.
pub(super) fn flatten(item: &Rc<Node>, sink: &mut dyn FnMut(Piece)) {
    let inner = item.field(KEY).map(|inner| &inner.node).filter(|_| item.text(KIND).is_some_and(|kind| kind.ends_with("List")));
    match inner.map(|inner| &inner.content) {
        Some(Content::List(entries)) => {
            for entry in entries {
                let inner = if is_untyped(&entry.node) { typed(&entry.node, item) } else { entry.node.clone() };
                flatten(&inner, sink);
            }
        }
        _ => sink(Piece::Object(item.clone())),
    }
}
