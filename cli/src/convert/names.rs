//! Names for the objects that are written: what Kubernetes allows, and no two the same.

use std::collections::BTreeSet;

/// Leaves room for what is put behind it.
const LONGEST: usize = 200;

#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<(&'static str, String)>);

impl Names {
    /// A name of the kind that nobody has yet, near the one that is wanted.
    pub(crate) fn unique(&mut self, kind: &'static str, wanted: &str) -> String {
        let base = label(wanted, LONGEST);
        let mut free = base.clone();
        let mut number = 1;
        while !self.0.insert((kind, free.clone())) {
            number += 1;
            free = format!("{base}-{number}");
        }
        free
    }
}

/// Lower case, digits and dashes, and never empty.
pub(crate) fn label(wanted: &str, longest: usize) -> String {
    let mut name = String::new();
    for char in wanted.chars() {
        match char.to_ascii_lowercase() {
            char @ ('a'..='z' | '0'..='9') => name.push(char),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.truncate(longest);
    let name = name.trim_end_matches('-');
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{Names, label};

    #[test]
    fn names_are_valid_and_differ() {
        for (wanted, name) in [
            ("orders", "orders"),
            ("Orders API_v1", "orders-api-v1"),
            ("--a--", "a"),
            ("é", "unnamed"),
            ("", "unnamed"),
            ("10.0.0.1", "10-0-0-1"),
        ] {
            assert_eq!(label(wanted, 63), name);
        }
        assert_eq!(label("abc-def", 4), "abc");
        let mut names = Names::default();
        let mut next = |kind, wanted| names.unique(kind, wanted);
        assert_eq!(next("Service", "a"), "a");
        assert_eq!(next("Service", "A"), "a-2");
        assert_eq!(next("Service", "a"), "a-3");
        assert_eq!(next("Secret", "a"), "a");
    }
}
