//! What a part of an aggregate is asked for: a path and a query into which values of the request are written.
//!
//! A value stays a value: all of it but letters, digits, `-`, `.`, `_` and `~` is escaped, so that it adds no segment, no
//! parameter and no query. What a backend could resolve to another path, were it to decode before it looks, is refused.

use std::borrow::Cow;

use gatehouse_proto::config::v1::{self, template_piece::Kind};
use http::uri::PathAndQuery;

use super::InvalidFilter;
use crate::{Reason, http::target::canonical_path};

/// Bytes of path and query.
const LONGEST: usize = 8 << 10;

#[derive(Debug, Clone)]
pub(crate) struct Template {
    path: Box<[Piece]>,
    query: Box<[Box<[Piece]>]>,
    /// Where nothing is filled in.
    fixed: Option<PathAndQuery>,
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(Box<str>),
    /// From 0.
    Segment(usize),
    Query(Box<str>),
    Claim(Box<str>),
    Consumer(ConsumerField),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsumerField {
    Username,
    CustomId,
    Tier,
}

/// Where values come from.
pub(crate) struct Values<'a> {
    /// Canonical.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) claim: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
    pub(crate) consumer: &'a dyn Fn(ConsumerField) -> Option<&'a [u8]>,
}

impl Template {
    pub(crate) fn compile(
        path: &[v1::TemplatePiece],
        query: &[v1::TemplateField],
    ) -> Result<Self, InvalidFilter> {
        let pieces = |wire: &[v1::TemplatePiece]| wire.iter().map(piece).collect::<Result<Box<[_]>, _>>();
        let query = query.iter().map(|field| pieces(&field.pieces)).collect::<Result<Box<[_]>, _>>()?;
        let mut template = Template { path: pieces(path)?, query, fixed: None };
        // The literals must make a path, whatever stands between them.
        let filled: String = template.path.iter().map(|piece| piece.literal().unwrap_or("x")).collect();
        if canonical_path(&filled).is_err() {
            return Err(InvalidFilter(format!(
                "{filled:?} is no path: begin with `/` and escape what needs it"
            )));
        }
        let mut all = template.path.iter().chain(template.query.iter().flatten());
        if all.all(|piece| piece.literal().is_some()) {
            let none = Values { path: "/", query: None, claim: &|_| None, consumer: &|_| None };
            let fixed = template.render(&none);
            template.fixed = Some(
                fixed.map_err(|_| InvalidFilter(format!("{filled:?} is no path that can be asked for")))?,
            );
        }
        Ok(template)
    }

    /// Fails where the path lacks a value, or would get one that it must not have.
    pub(crate) fn render(&self, values: &Values<'_>) -> Result<PathAndQuery, Reason> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let mut text = String::with_capacity(64);
        for piece in &self.path {
            match piece.value(values) {
                Some(Value::Literal(literal)) => text.push_str(literal),
                Some(Value::Given(value)) if fits_a_path(&value) => escape(&mut text, &value)?,
                _ => return Err(Reason::ValueMissing),
            }
        }
        if has_dot_segment(&text) {
            return Err(Reason::ValueMissing);
        }
        let mut sign = '?';
        for field in &self.query {
            let begins = text.len();
            text.push(sign);
            if write_field(&mut text, field, values)? {
                sign = '&';
            } else {
                text.truncate(begins);
            }
        }
        PathAndQuery::try_from(text).map_err(|_| Reason::ValueMissing)
    }
}

enum Value<'a> {
    Literal(&'a str),
    Given(Cow<'a, [u8]>),
}

impl Piece {
    fn literal(&self) -> Option<&str> {
        if let Piece::Literal(literal) = self { Some(literal) } else { None }
    }

    /// `None`: the request has none.
    fn value<'a>(&'a self, values: &'a Values<'_>) -> Option<Value<'a>> {
        let bytes = match self {
            Piece::Literal(literal) => return Some(Value::Literal(literal)),
            Piece::Segment(index) => {
                let segment = values.path.split('/').skip(1).nth(*index)?;
                Cow::Owned(percent_decoded(segment))
            }
            Piece::Query(name) => {
                let mut all = form_urlencoded::parse(values.query?.as_bytes());
                into_bytes(all.find(|(key, _)| **key == **name)?.1)
            }
            Piece::Claim(path) => into_bytes((values.claim)(path)?),
            Piece::Consumer(field) => Cow::Borrowed((values.consumer)(*field)?),
        };
        Some(Value::Given(bytes))
    }
}

fn piece(wire: &v1::TemplatePiece) -> Result<Piece, InvalidFilter> {
    Ok(match &wire.kind {
        Some(Kind::Literal(literal)) => Piece::Literal(literal.as_str().into()),
        Some(Kind::Segment(number)) => {
            let index = usize::try_from(*number).ok().and_then(|number| number.checked_sub(1));
            Piece::Segment(index.ok_or_else(|| InvalidFilter("segments are counted from 1".into()))?)
        }
        Some(Kind::Query(name)) => Piece::Query(name.as_str().into()),
        Some(Kind::Claim(path)) => Piece::Claim(path.as_str().into()),
        Some(Kind::Consumer(field)) => Piece::Consumer(match field.as_str() {
            "username" => ConsumerField::Username,
            "customId" => ConsumerField::CustomId,
            "tier" => ConsumerField::Tier,
            other => return Err(InvalidFilter(format!("this dataplane does not know {other} of consumers"))),
        }),
        None => return Err(InvalidFilter("this dataplane does not know a placeholder".into())),
    })
}

/// `false`: a value is missing, and what was written is of no use.
fn write_field(text: &mut String, field: &[Piece], values: &Values<'_>) -> Result<bool, Reason> {
    for piece in field {
        match piece.value(values) {
            Some(Value::Literal(literal)) => text.push_str(literal),
            Some(Value::Given(value)) => escape(text, &value)?,
            None => return Ok(false),
        }
    }
    Ok(true)
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Of a canonical path, in which every `%` begins an escape.
fn percent_decoded(segment: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).unwrap_or(0);
        decoded.push(if byte == b'%' { u8::try_from(16 * digit() + digit()).unwrap_or(0) } else { byte });
    }
    decoded
}

/// An empty one would ask for what stands above it; control characters have no place in a path.
fn fits_a_path(value: &[u8]) -> bool {
    !value.is_empty() && !value.iter().any(|byte| byte.is_ascii_control())
}

fn escape(text: &mut String, value: &[u8]) -> Result<(), Reason> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        if text.len() > LONGEST {
            return Err(Reason::UriTooLong);
        }
    }
    Ok(())
}

/// As a backend sees the path that decodes it first, and takes `\` for `/` and what follows `;` away.
fn has_dot_segment(path: &str) -> bool {
    if !path.contains('.') {
        return false;
    }
    let decoded = path.replace("%2F", "/").replace("%5C", "/").replace("%3B", ";");
    decoded.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

#[cfg(test)]
mod tests;
