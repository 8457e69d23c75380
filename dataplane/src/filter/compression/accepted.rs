//! Which coding a client likes best (RFC 9110, 12.5.3).

use http::{HeaderValue, header::GetAll};

use super::Coding;

/// Of equals the first of `codings`. `None`: it takes none of them, or likes the body better as it is.
pub(super) fn best(codings: &[Coding], header: GetAll<'_, HeaderValue>) -> Option<Coding> {
    let mut weights: Vec<(&str, u16)> = Vec::new();
    for value in header {
        weights.extend(value.to_str().ok()?.split(',').filter_map(weighted));
    }
    let weight = |name: &str| {
        let of = |name: &str| weights.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        of(name).map(|(_, weight)| *weight)
    };
    let any = weight("*");
    let plain = weight("identity").unwrap_or(0);
    let mut best: Option<(Coding, u16)> = None;
    for coding in codings {
        let weight = weight(coding.name()).or(any).unwrap_or(0);
        if weight > best.map_or(0, |(_, most)| most) {
            best = Some((*coding, weight));
        }
    }
    best.filter(|(_, weight)| *weight >= plain).map(|(coding, _)| coding)
}

/// A coding, and how much it is liked, in thousandths. `None`: it is no such thing.
fn weighted(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = match parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))) {
        None => 1000,
        // Whatever it is beyond three digits makes no difference.
        Some(q) => (q.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q))? * 1000.0) as u16,
    };
    Some((name, weight))
}
