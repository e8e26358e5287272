//! The fields of a map, gathered as they come: own ones once, merged ones wherever `<<` stands.

use std::{collections::HashMap, rc::Rc};

use super::{Broken, Content, Entry, Node, Span};
use crate::model::problem::Problem;

/// The fields of a map that is being read.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) entries: Vec<Entry>,
    /// Where each key is, and whether the map says it itself.
    by_key: HashMap<String, (usize, bool)>,
}

impl Fields {
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), Broken> {
        if self.by_key.get(&entry.key).is_some_and(|(_, is_own)| *is_own) {
            let problem = Problem::new(format!("the key {:?} stands twice in this map", entry.key)).advice("remove one of the two");
            return Err(Broken::new(entry.key_span.start, problem));
        }
        self.put(entry, true);
        Ok(())
    }

    /// Takes the fields of one map, or of a list of maps of which the first wins.
    pub(super) fn merge(&mut self, node: &Rc<Node>, here: &Span) -> Result<(), Broken> {
        let mut maps = vec![node.clone()];
        if let Content::List(list) = &node.content {
            maps = list.iter().rev().map(|entry| entry.node.clone()).collect();
        }
        for map in maps {
            let Content::Map(entries) = &map.content else {
                return Err(Broken::new(here.start, "a merge (<<) takes a map, or a list of maps"));
            };
            for entry in entries {
                self.put(Entry { through: Some(here.clone()), ..entry.clone() }, false);
            }
        }
        Ok(())
    }

    fn put(&mut self, entry: Entry, is_own: bool) {
        match self.by_key.get_mut(&entry.key) {
            Some((at, owned)) => {
                *owned |= is_own;
                if let Some(before) = self.entries.get_mut(*at) {
                    *before = entry;
                }
            }
            None => {
                self.by_key.insert(entry.key.clone(), (self.entries.len(), is_own));
                self.entries.push(entry);
            }
        }
    }
}
