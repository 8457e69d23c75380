//! Texts that regular expressions take.

use regex_syntax::hir::{Class, Hir, HirKind};

/// A short one; empty where the pattern is no expression.
pub(crate) fn shortest_match(pattern: &str) -> String {
    let mut sample = String::new();
    if let Ok(hir) = regex_syntax::parse(pattern) {
        shortest(&hir, &mut sample);
    }
    sample
}

/// Puts a short text behind `text` that the expression takes.
fn shortest(hir: &Hir, text: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => {
            let first: Vec<(char, char)> = match class {
                Class::Unicode(class) => {
                    class.ranges().iter().map(|range| (range.start(), range.end())).collect()
                }
                Class::Bytes(class) => class
                    .ranges()
                    .iter()
                    .map(|range| (char::from(range.start()), char::from(range.end())))
                    .collect::<Vec<_>>(),
            };
            let has = |wanted: char| first.iter().any(|(start, end)| (*start..=*end).contains(&wanted));
            let usual = ('a'..='z').chain('0'..='9').chain('A'..='Z').find(|char| has(*char));
            text.extend(usual.or_else(|| first.first().map(|(start, _)| *start)));
        }
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                shortest(&repetition.sub, text);
            }
        }
        HirKind::Capture(capture) => shortest(&capture.sub, text),
        HirKind::Concat(all) => all.iter().for_each(|one| shortest(one, text)),
        HirKind::Alternation(all) => {
            if let Some(first) = all.first() {
                shortest(first, text);
            }
        }
    }
}
