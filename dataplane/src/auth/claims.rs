//! Claims by their names.

use serde_json::Value;

use super::jwt::Claims;

/// Dots descend into objects, but names hold dots too, as `https://example.com/roles` does: at each level the longest
/// name that fits counts.
pub(super) fn find<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (inner, rest) = path.rmatch_indices('.').find_map(|(dot, _)| {
        let inner = claims.get(&path[..dot])?.as_object()?;
        Some((inner, &path[dot + 1..]))
    })?;
    find(inner, rest)
}
