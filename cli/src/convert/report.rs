//! What becomes of each field of the input: one entry a field, by construction.
//!
//! Whoever reads a field marks it. At the end the fields are counted off against the input itself, and one that nobody has
//! marked is told as refused. Of several marks of one field the worst counts, and all are said.

mod markdown;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use serde::Serialize;

use super::tree::{Node, Source};

pub(crate) use markdown::{Origin, markdown};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// It does here what it does there, or nothing there.
    Exact,
    /// It is converted, and something changes.
    Warning,
    /// It is not converted.
    Refused,
}

/// One field of the input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Entry {
    pub(crate) file: String,
    pub(crate) line: u64,
    /// The object that it belongs to, as `route orders-list`.
    pub(crate) object: String,
    pub(crate) field: String,
    pub(crate) verdict: Verdict,
    /// What changes. Empty where nothing does.
    pub(crate) changes: String,
    /// Probes that show it, by their ids in probes.json.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) probes: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    marks: RefCell<BTreeMap<Place, Mark>>,
    objects: RefCell<BTreeMap<Place, String>>,
}

/// A document and a path in it.
type Place = (usize, String);

#[derive(Debug, Clone)]
struct Mark {
    verdict: Verdict,
    messages: Vec<String>,
    probes: BTreeSet<String>,
}

/// How many fields of each verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) exact: usize,
    pub(crate) warning: usize,
    pub(crate) refused: usize,
}

impl Report {
    /// With all that is below it.
    pub(crate) fn exact(&self, node: &Node<'_>) {
        self.mark(node, Verdict::Exact, None);
    }

    /// `message` continues the name of the field.
    pub(crate) fn warn(&self, node: &Node<'_>, message: impl Into<String>) {
        self.mark(node, Verdict::Warning, Some(message.into()));
    }

    pub(crate) fn refuse(&self, node: &Node<'_>, message: impl Into<String>) {
        self.mark(node, Verdict::Refused, Some(message.into()));
    }

    /// A probe that shows what is said of the field.
    pub(crate) fn probe(&self, node: &Node<'_>, id: &str) {
        let mut marks = self.marks.borrow_mut();
        let mark = marks.entry(place(node)).or_insert_with(|| Mark::new(Verdict::Exact));
        mark.probes.insert(id.to_owned());
    }

    /// Somebody has said something of the very field.
    pub(crate) fn is_marked(&self, node: &Node<'_>) -> bool {
        self.marks.borrow().contains_key(&place(node))
    }

    /// What the fields at and below belong to.
    pub(crate) fn object(&self, node: &Node<'_>, name: impl Into<String>) {
        self.objects.borrow_mut().insert(place(node), name.into());
    }

    /// Every field of the input, in its order.
    pub(crate) fn entries(&self, sources: &[Source]) -> Vec<Entry> {
        let leaves = sources.iter().flat_map(|source| Node::root(source).leaves());
        let mut entries: Vec<_> = leaves.map(|leaf| (leaf.source(), self.entry(&leaf))).collect();
        entries.sort_by(|(source, one), (other, two)| (source, one.line).cmp(&(other, two.line)));
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn mark(&self, node: &Node<'_>, verdict: Verdict, message: Option<String>) {
        let mut marks = self.marks.borrow_mut();
        let mark = marks.entry(place(node)).or_insert_with(|| Mark::new(verdict));
        mark.verdict = mark.verdict.max(verdict);
        mark.messages.extend(message.filter(|message| !mark.messages.contains(message)));
    }

    fn entry(&self, leaf: &Node<'_>) -> Entry {
        let (marks, objects) = (self.marks.borrow(), self.objects.borrow());
        let mut all = Mark::new(Verdict::Exact);
        let (mut is_marked, mut object) = (false, None);
        for path in around(leaf.path()) {
            let place = (leaf.source(), path.to_owned());
            if let Some(mark) = marks.get(&place) {
                is_marked = true;
                all.verdict = all.verdict.max(mark.verdict);
                all.probes.extend(mark.probes.iter().cloned());
                let fresh: Vec<_> =
                    mark.messages.iter().filter(|text| !all.messages.contains(text)).cloned().collect();
                all.messages.extend(fresh);
            }
            object = object.or_else(|| objects.get(&place).cloned());
        }
        if !is_marked {
            all.verdict = Verdict::Refused;
            all.messages
                .push("is not known to this converter: look at what it does, and whether you need it".into());
        }
        Entry {
            file: leaf.file().to_owned(),
            line: leaf.line(),
            object: object.unwrap_or_default(),
            field: leaf.path().to_owned(),
            verdict: all.verdict,
            changes: all.messages.join("; "),
            probes: all.probes.into_iter().collect(),
        }
    }
}

impl Mark {
    fn new(verdict: Verdict) -> Self {
        Mark { verdict, messages: Vec::new(), probes: BTreeSet::new() }
    }
}

impl Counts {
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let count = |verdict| entries.iter().filter(|entry| entry.verdict == verdict).count();
        Counts {
            exact: count(Verdict::Exact),
            warning: count(Verdict::Warning),
            refused: count(Verdict::Refused),
        }
    }
}

fn place(node: &Node<'_>) -> Place {
    (node.source(), node.path().to_owned())
}

/// A path and all around it, from the inside.
fn around(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| outer(path))
}

fn outer(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    Some(path.rfind(['.', '[']).map_or("", |end| &path[..end]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Report, Verdict};
    use crate::{
        convert::tree::{Node, Reader, Source},
        manifests::read::documents,
    };

    fn source(text: &str) -> Source {
        let document = documents(text).remove(0).expect("YAML");
        Source { file: "kong.yml".into(), index: 0, document }
    }

    #[test]
    fn what_nobody_reads_is_refused() {
        let source = source("a: 1\nb:\n  c: x\n  d: [1, {e: 2}]\nf: []\ng: null\n");
        let report = Report::default();
        let reader = Reader::new(Node::root(&source), &report);
        assert_eq!(reader.number("a").map(|at| at.value), Some(1));
        let b = reader.below("b").expect("b");
        report.object(&b.node, "thing b");
        b.text("c");
        b.warn("c", "is another");
        let entries = report.entries(std::slice::from_ref(&source));
        let told: Vec<_> = entries.iter().map(|entry| (&*entry.field, entry.line, entry.verdict)).collect();
        assert_eq!(
            told,
            [
                ("a", 1, Verdict::Exact),
                ("b.c", 3, Verdict::Warning),
                ("b.d[0]", 4, Verdict::Refused),
                ("b.d[1].e", 4, Verdict::Refused),
                ("f", 5, Verdict::Refused),
            ]
        );
        assert_eq!((&*entries[1].object, &*entries[1].changes), ("thing b", "is another"));
    }

    #[test]
    fn a_mark_holds_for_all_below() {
        let source = source("a:\n  b: [1, 2]\n");
        let report = Report::default();
        let a = Node::root(&source).get("a").expect("a");
        report.exact(&a);
        report.refuse(&a.get("b").expect("b"), "no");
        let entries = report.entries(std::slice::from_ref(&source));
        assert!(entries.iter().all(|entry| entry.verdict == Verdict::Refused && entry.changes == "no"));
    }

    proptest! {
        /// Whatever is read or not: each scalar of the input has exactly one entry.
        #[test]
        fn one_entry_a_field(names in prop::collection::btree_set("[a-d]{1,3}", 1..8), read in any::<u8>()) {
            let text: String = names.iter().enumerate().map(|(at, name)| format!("{name}: {{v: {at}}}\n")).collect();
            let source = source(&text);
            let report = Report::default();
            let root = Reader::new(Node::root(&source), &report);
            for (at, name) in names.iter().enumerate() {
                if read & (1 << at) != 0 {
                    root.below(name).expect("a map").number("v");
                }
            }
            let entries = report.entries(std::slice::from_ref(&source));
            prop_assert_eq!(entries.len(), names.len());
            for (at, entry) in entries.iter().enumerate() {
                prop_assert_eq!(entry.verdict == Verdict::Exact, read & (1 << at) != 0);
            }
        }
    }
}
