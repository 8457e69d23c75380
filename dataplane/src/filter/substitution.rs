//! A text that is put together from what the groups of an expression matched.

use gatehouse_proto::config::v1;

use super::InvalidFilter;
use crate::route::WholeExpression;

#[derive(Debug, Clone)]
pub(crate) struct Substitution {
    pattern: WholeExpression,
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(Box<str>),
    /// What the group of this number matched.
    Group(usize),
}

impl Substitution {
    pub(crate) fn compile(wire: &v1::PathExpression) -> Result<Self, InvalidFilter> {
        let pattern =
            WholeExpression::new(&wire.pattern).map_err(|invalid| InvalidFilter(invalid.to_string()))?;
        let pieces = pieces(&wire.substitution, &pattern).map_err(InvalidFilter)?;
        Ok(Substitution { pattern, pieces })
    }

    /// `None`: the pattern does not match.
    pub(crate) fn apply(&self, text: &str) -> Option<String> {
        let captures = self.pattern.captures(text)?;
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::Group(number) => captures.get(*number).map_or("", |group| group.as_str()).to_owned(),
        };
        Some(self.pieces.iter().map(piece).collect())
    }
}

/// `$1` to `$9`, `${name}`, `$$`, and text.
fn pieces(text: &str, pattern: &WholeExpression) -> Result<Box<[Piece]>, String> {
    let mut pieces = Vec::new();
    let mut parts = text.split('$');
    pieces.extend(parts.next().map(|first| Piece::Text(first.into())));
    while let Some(part) = parts.next() {
        let (name, rest) = if let Some(named) = part.strip_prefix('{') {
            named.split_once('}').ok_or_else(|| format!("{text:?}: a name in braces does not end"))?
        } else if part.starts_with(|first: char| first.is_ascii_digit()) {
            part.split_at(1)
        } else if part.is_empty()
            && let Some(next) = parts.next()
        {
            pieces.push(Piece::Text(format!("${next}").into()));
            continue;
        } else {
            return Err(format!("{text:?}: write $1 to $9 or ${{name}} for a group, $$ for a dollar sign"));
        };
        let group =
            pattern.group(name).ok_or_else(|| format!("{text:?}: the pattern has no group {name}"))?;
        pieces.extend([Piece::Group(group), Piece::Text(rest.into())]);
    }
    Ok(pieces.into())
}
