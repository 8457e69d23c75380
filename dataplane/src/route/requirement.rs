//! What a text must contain for an expression to match it.

use regex_syntax::hir::{Hir, HirKind};

use super::expression::WholeExpression;

/// Four bytes.
pub(super) type Gram = u32;

const LENGTH: usize = size_of::<Gram>();
/// An expression with more ways to match is not worth filing under each.
const MOST: usize = 32;

/// All runs of four bytes.
pub(super) fn grams(text: &[u8]) -> impl Iterator<Item = Gram> {
    text.array_windows::<LENGTH>().map(|run| Gram::from_le_bytes(*run))
}

/// Some of [`all`], such that whatever the expression matches contains one of them at least. `crowd` says how many
/// others there are: those with few are taken. `None` if nothing is required.
pub(super) fn choose(expression: &WholeExpression, crowd: &impl Fn(Gram) -> usize) -> Option<Vec<Gram>> {
    let hir = regex_syntax::parse(expression.as_str()).ok()?;
    let (_, grams) = cheapest(&hir, crowd)?;
    (grams.len() <= MOST).then_some(grams)
}

/// All that [`choose`] can give.
pub(super) fn all(expression: &WholeExpression) -> Vec<Gram> {
    let mut found = Vec::new();
    if let Ok(hir) = regex_syntax::parse(expression.as_str()) {
        collect(&hir, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// With the sum of their crowds.
fn cheapest(hir: &Hir, crowd: &impl Fn(Gram) -> usize) -> Option<(usize, Vec<Gram>)> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let (cost, gram) = grams(&literal.0).map(|gram| (crowd(gram), gram)).min()?;
            Some((cost, vec![gram]))
        }
        HirKind::Capture(capture) => cheapest(&capture.sub, crowd),
        HirKind::Repetition(repetition) if repetition.min > 0 => cheapest(&repetition.sub, crowd),
        // Any part of a sequence must be there.
        HirKind::Concat(parts) => parts
            .iter()
            .filter_map(|part| cheapest(part, crowd))
            .min_by_key(|(cost, grams)| (*cost, grams.len())),
        // One of the alternatives must be there.
        HirKind::Alternation(parts) => parts.iter().try_fold((0, Vec::new()), |(sum, mut all), part| {
            let (cost, grams) = cheapest(part, crowd)?;
            all.extend(grams);
            Some((sum + cost, all))
        }),
        HirKind::Repetition(_) | HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => None,
    }
}

fn collect(hir: &Hir, found: &mut Vec<Gram>) {
    match hir.kind() {
        HirKind::Literal(literal) => found.extend(grams(&literal.0)),
        HirKind::Capture(capture) => collect(&capture.sub, found),
        HirKind::Repetition(repetition) => collect(&repetition.sub, found),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().for_each(|part| collect(part, found));
        }
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{Gram, WholeExpression, all, choose, grams};

    fn chosen(pattern: &str, crowded: &str) -> Option<Vec<String>> {
        let crowded: Vec<Gram> = grams(crowded.as_bytes()).collect();
        let expression = WholeExpression::new(pattern).unwrap();
        let grams = choose(&expression, &|gram| usize::from(crowded.contains(&gram)))?;
        assert!(grams.iter().all(|gram| all(&expression).contains(gram)), "{pattern}");
        Some(grams.iter().map(|gram| String::from_utf8(gram.to_le_bytes().into()).unwrap()).collect())
    }

    #[test]
    fn what_is_required() {
        for (pattern, crowded, wanted) in [
            ("/abc", "", Some(&["/abc"][..])),
            ("/api/[a-z]+-17x/.*", "/api/", Some(&["17x/"])),
            ("/api/[a-z]+", "/api/", Some(&["api/"])),
            ("/(one|two)/[0-9]", "", None),
            ("/(ones|twos)/[0-9]", "", Some(&["ones", "twos"])),
            ("(?:/abc)+", "", Some(&["/abc"])),
            ("(?:/abc)*", "", None),
            ("(?:/abc)?/d", "", None),
            ("/abc|.*", "", None),
            ("(?i)/abc", "", None),
            ("/ab.", "", None),
            ("/ab[c]", "", Some(&["/abc"])),
            ("^/abc$", "", Some(&["/abc"])),
            ("", "", None),
        ] {
            let wanted = wanted.map(|grams| grams.iter().map(|gram| (*gram).to_owned()).collect());
            assert_eq!(chosen(pattern, crowded), wanted, "{pattern}");
        }
    }
}
