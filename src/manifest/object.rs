//! Which of a text's objects are ours.

use super::Node;
use crate::model::{GROUP, subject::Kind};

/// The kind and the version of an object of one of our kinds.
pub fn kind_and_version(node: &Node) -> Option<(Kind, &str)> {
    let (group, version) = node.text("apiVersion")?.split_once('/')?;
    let kind = Kind::from_name(node.text("kind")?).filter(|_| group == GROUP)?;
    Some((kind, version))
}

/// The kind of an object that has the name of one of our kinds, and no `apiVersion` to say whose it is.
pub fn unversioned(node: &Node) -> Option<Kind> {
    Kind::from_name(node.text("kind")?).filter(|_| node.field("apiVersion").is_none())
}
