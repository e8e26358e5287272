//! Which of a text's objects are ours.

use super::Node;
use crate::model::{GROUP, VERSIONS, problem::Problem, spelling::nearest, subject::Kind};

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

/// The kind of an object that was meant to be ours and is not, since its API group or its kind is misspelt; the field that is, and what is
/// wrong with it. Kinds of the same name in groups of other projects are not meant.
pub fn misnamed(node: &Node) -> Option<(Kind, &'static str, Problem)> {
    let (api_version, kind) = (node.text("apiVersion")?, node.text("kind")?);
    let (group, version) = api_version.split_once('/').unwrap_or((api_version, ""));
    let meant = Kind::ALL.into_iter().find(|ours| ours.name().eq_ignore_ascii_case(kind))?;
    if VERSIONS.contains(&api_version) {
        let problem = Problem::new(format!("has no API group, so this {} is not judged", meant.name()));
        return Some((meant, "apiVersion", problem.advice(format!("write {GROUP}/{api_version}"))));
    }
    if group == GROUP && version.is_empty() {
        let problem = Problem::new(format!("has no version, so this {} is not judged", meant.name()));
        return Some((meant, "apiVersion", problem.advice(format!("write {GROUP}/{}", VERSIONS[0]))));
    }
    if group == GROUP {
        let is_misspelt = kind != meant.name();
        let problem = || Problem::new(format!("is not a kind of {GROUP}")).advice(format!("did you mean {}?", meant.name()));
        return is_misspelt.then(|| (meant, "kind", problem()));
    }
    let version = VERSIONS.into_iter().find(|known| *known == version).unwrap_or(VERSIONS[0]);
    let problem = || Problem::new(format!("is not ToolHive's API group, so this {} is not judged", meant.name()));
    nearest(group, &[GROUP]).map(|_| (meant, "apiVersion", problem().advice(format!("did you mean {GROUP}/{version}?"))))
}
