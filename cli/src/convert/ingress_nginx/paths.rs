//! How a path is matched and rewritten.
//!
//! A host on which any path has `use-regex`, or a `rewrite-target` that changes something, has all its paths matched by
//! expressions without case, the longest text first. Here an expression of the same text does the same; where all paths of
//! a host are of the usual shapes, prefixes do.

use gatehouse_controller::translate::nginx;
use serde_json::{Value, json};

use super::input::{Path, PathKind};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Form {
    /// A condition of a rule.
    pub(super) path: Value,
    /// `rewrite.path` of a rule.
    pub(super) rewrite: Option<Value>,
    /// A path that it takes.
    pub(super) sample: String,
    /// What it takes is not known for sure: nobody may have it.
    pub(super) is_closed: bool,
}

/// Without regular expressions.
pub(super) fn plain(path: &Path<'_>) -> Form {
    let text = encoded(&path.text);
    let kind = if path.kind == PathKind::Exact { "Exact" } else { "PathPrefix" };
    let sample = if text == "/" || path.kind == PathKind::Implementation {
        text.clone()
    } else {
        text.trim_end_matches('/').to_owned()
    };
    Form { path: json!({"type": kind, "value": text}), rewrite: None, sample, is_closed: false }
}

/// A prefix for what is written as an expression; `None`: it is none of the usual shapes. `target`: what a path becomes.
pub(super) fn simple(text: &str, target: Option<&str>) -> Option<Form> {
    let (sample, rewrite) = nginx::usual(text, target)?;
    let path = json!({"type": "PathPrefix", "value": sample});
    Some(Form { path, rewrite: rewrite.map(|rewrite| json!(rewrite)), sample, is_closed: false })
}

/// The error says why there is no such expression here.
pub(super) fn expression(text: &str, target: Option<&str>) -> Result<Form, String> {
    let pattern = format!("(?i)(?:{text}).*");
    let parsed = regex_syntax::parse(&pattern).map_err(|_| {
        "is an expression with look-around or references back, which there is not here".to_owned()
    })?;
    let groups = parsed.properties().explicit_captures_len();
    let rewrite = target.map(|target| {
        let substitution = substitution(target, groups)?;
        Ok::<_, String>(json!({
            "type": "ReplaceRegexMatch",
            "replaceRegexMatch": {"pattern": pattern, "substitution": substitution},
        }))
    });
    Ok(Form {
        rewrite: rewrite.transpose()?,
        sample: crate::convert::sample::shortest_match(text),
        path: json!({"type": "RegularExpression", "value": pattern}),
        is_closed: false,
    })
}

/// All that an expression which is none here may take.
pub(super) fn around(text: &str) -> Form {
    let end = text.find(|char| "\\^$|?*+()[]{}.".contains(char)).unwrap_or(text.len());
    let literal = text[..end].rfind('/').map_or("/", |slash| &text[..=slash]);
    Form {
        path: json!({"type": "RegularExpression", "value": format!("(?i)(?:{literal}).*")}),
        rewrite: None,
        sample: literal.to_owned(),
        is_closed: true,
    }
}

/// A group that there is not is nothing.
fn substitution(target: &str, groups: usize) -> Result<String, String> {
    let mut made = String::new();
    let mut chars = target.chars();
    while let Some(char) = chars.next() {
        match char {
            '$' => match chars.next().and_then(|digit| digit.to_digit(10)) {
                Some(number @ 1..) if number as usize <= groups => made.push_str(&format!("${number}")),
                Some(1..) => {}
                _ => return Err(format!("becomes {target}, with a variable that there is not here")),
            },
            '!'..='~' if !"?#".contains(char) => made.push(char),
            _ => return Err(format!("becomes {target}, which is no plain path")),
        }
    }
    Ok(made)
}

/// In the form that paths of requests have.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'!'..=b'~' if !b"<>#?\"%\\^`{|}".contains(&byte) => char::from(byte).to_string(),
        // An escape stays one.
        b'%' => "%".to_owned(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::{around, expression};

    #[test]
    fn others_are_expressions() {
        let form = expression("/x/(\\d+)(/|$)(.*)", Some("/y/$3/$9$1")).expect("an expression");
        assert_eq!(form.path["value"], "(?i)(?:/x/(\\d+)(/|$)(.*)).*");
        assert_eq!(form.rewrite.expect("a rewrite")["replaceRegexMatch"]["substitution"], "/y/$3/$1");
        assert_eq!(form.sample, "/x/0/");
        assert!(expression("/(?!x)", None).is_err());
        assert!(expression("/(.*)", Some("/$1?a=b")).is_err());
        assert!(expression("/(.*)", Some("/$host")).is_err());
        assert_eq!(around("/a/b(?!x)").path["value"], "(?i)(?:/a/).*");
    }
}
