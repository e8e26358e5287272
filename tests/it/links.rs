//! Links between pages: each relative one leads to a file that is there, and each `#anchor` to a heading. Nothing is fetched.

use std::{collections::HashSet, path::PathBuf};

use crate::support::pages::{self, Page, root};

/// The targets of links, outside of code.
fn targets(page: &Page) -> Vec<String> {
    let prose: String = page.prose().split('`').step_by(2).collect();
    let after = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    after.map(|target| target.split_whitespace().next().unwrap_or_default().to_owned()).collect()
}

/// The anchors of a page's headings, made as GitHub makes them: lower case, punctuation removed, spaces as hyphens, and a number after one
/// that is taken.
fn anchors(page: &Page) -> HashSet<String> {
    let mut anchors = HashSet::new();
    for line in page.prose().lines().filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let taken = (1..).map(|number| format!("{anchor}-{number}"));
        let free = [anchor.clone()].into_iter().chain(taken).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// Why a link leads nowhere.
fn fault(page: &Page, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let from = PathBuf::from(&page.path);
    let to = if path.is_empty() { from } else { from.parent().unwrap_or(&from).join(path) };
    let Ok(found) = root().join(&to).canonicalize() else { return Some(format!("{} is not there", to.display())) };
    let Ok(inside) = found.strip_prefix(root().canonicalize().expect("it is there")) else {
        return Some("it leaves the repository".to_owned());
    };
    let anchor = anchor?;
    let to = Page::read(&inside.display().to_string());
    (!anchors(&to).contains(anchor)).then(|| format!("{} has no heading #{anchor}", to.path))
}

#[test]
fn every_relative_link_and_anchor_resolves() {
    let mut seen = 0;
    for page in pages::all() {
        for target in targets(&page) {
            seen += 1;
            if let Some(fault) = fault(&page, &target) {
                panic!("{} links to {target}: {fault}", page.path);
            }
        }
    }
    assert!(seen >= 50, "only {seen} links were found");
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let text = "# A `b` & c\n## A b  c\n[x](#a-b--c) [y](gone.md)\n```text\n[z](also-gone.md)\n# No heading\n```\n`[code](gone.md)` [w](README.md#nothing)";
    let page = Page { path: "page.md".to_owned(), text: text.to_owned() };
    assert_eq!(targets(&page), ["#a-b--c", "gone.md", "README.md#nothing"]);
    assert_eq!(anchors(&page), HashSet::from(["a-b--c".to_owned(), "a-b--c-1".to_owned()]));
    assert_eq!(fault(&page, "gone.md"), Some("gone.md is not there".to_owned()));
    assert_eq!(fault(&page, "README.md#nothing"), Some("README.md has no heading #nothing".to_owned()));
    assert_eq!(fault(&page, "../../outside"), Some("../../outside is not there".to_owned()));
    assert_eq!(fault(&page, "https://example.com/#nothing"), None);
}
