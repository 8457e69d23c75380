//! Which claims backends see in which fields. Such a field is the policy's own.

use std::borrow::Cow;

use gatehouse_proto::config::v1::ClaimHeader;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};
use serde_json::Value;

use super::{Invalid, claims::find, jwt::Claims};
use crate::http::headers;

#[derive(Debug, Default)]
pub(super) struct ClaimHeaders(Vec<(Box<str>, HeaderName)>);

impl ClaimHeaders {
    /// `is_source`: a credential may stand there, so it can't be overwritten.
    pub(super) fn compile(
        wire: &[ClaimHeader],
        is_source: impl Fn(&HeaderName) -> bool,
    ) -> Result<Self, Invalid> {
        let mut compiled: Vec<(Box<str>, HeaderName)> = Vec::new();
        for ClaimHeader { claim, header } in wire {
            let name =
                free(header, &is_source).map_err(|what| Invalid(format!("identity.claims: {what}")))?;
            if claim.is_empty() || compiled.iter().any(|(_, other)| *other == name) {
                return Err(Invalid(format!("identity.claims: give header {name} one claim")));
            }
            compiled.push((claim.as_str().into(), name));
        }
        Ok(ClaimHeaders(compiled))
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(_, name)| name)
    }

    /// A claim that no field can hold is left out.
    pub(super) fn write(&self, claims: &Claims, headers: &mut HeaderMap) {
        for (path, name) in &self.0 {
            let text = find(claims, path).and_then(text);
            if let Some(Ok(value)) = text.map(|text| HeaderValue::from_bytes(text.as_bytes())) {
                headers.insert(name.clone(), value);
            }
        }
    }
}

/// A header field that a policy may set; the error is a sentence. `is_source`: a credential may stand there.
pub(super) fn free(header: &str, is_source: impl Fn(&HeaderName) -> bool) -> Result<HeaderName, String> {
    let name =
        HeaderName::from_bytes(header.as_bytes()).map_err(|_| format!("{header:?} is no header name"))?;
    if headers::is_ours(&name) || [AUTHORIZATION, COOKIE].contains(&name) || is_source(&name) {
        return Err(format!("header {name} has another meaning"));
    }
    Ok(name)
}

/// A text, a number or a truth value, as text.
pub(crate) fn plain<'a>(claims: &'a Claims, path: &str) -> Option<Cow<'a, str>> {
    match find(claims, path)? {
        Value::String(text) => Some(Cow::Borrowed(text)),
        other @ (Value::Number(_) | Value::Bool(_)) => Some(Cow::Owned(other.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Texts as they are, lists of plain values joined by commas, objects and other lists as JSON. Nothing for null, an empty
/// list, and a list with a comma in one of its texts: it would read as one value more.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Array(values) if values.iter().all(|value| !value.is_array() && !value.is_object()) => {
            let texts = values.iter().map(|value| match value {
                Value::String(text) if text.contains(',') => None,
                Value::String(text) => Some(Cow::Borrowed(text.as_str())),
                other => Some(Cow::Owned(other.to_string())),
            });
            let texts = texts.collect::<Option<Vec<_>>>()?;
            (!texts.is_empty()).then(|| Cow::Owned(texts.join(",")))
        }
        other => Some(Cow::Owned(other.to_string())),
    }
}

#[cfg(test)]
mod tests;
