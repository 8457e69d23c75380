//! Templates of paths: `/users/{segment.2}?lang={query.lang}`, cut into what is written as it is and what a request fills in.

use gatehouse_proto::config::v1::{TemplateField, TemplatePiece, template_piece::Kind};

use crate::translate::check;

/// No request has a path with more.
const MOST_SEGMENTS: u32 = 256;

#[derive(Debug, PartialEq)]
pub(super) struct Template {
    pub(super) path: Vec<TemplatePiece>,
    pub(super) query: Vec<TemplateField>,
}

/// The error is a sentence without the field's name.
pub(super) fn parse(text: &str) -> Result<Template, String> {
    let mut path = Vec::new();
    let mut query: Option<Vec<TemplateField>> = None;
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, placeholder, behind) = next(rest)?;
        let (in_path, in_query) = match (&query, literal.split_once('?')) {
            (None, None) => (literal, None),
            (None, Some((in_path, in_query))) => (in_path, Some(in_query)),
            (Some(_), _) => ("", Some(literal)),
        };
        push(&mut path, in_path);
        if let Some(in_query) = in_query {
            // What continues a field, and then more of them.
            let fields = query.get_or_insert_with(|| vec![TemplateField::default()]);
            for (index, more) in in_query.split('&').enumerate() {
                if index > 0 {
                    fields.push(TemplateField::default());
                }
                push(fields.last_mut().map_or(&mut path, |field| &mut field.pieces), more);
            }
        }
        if let Some(placeholder) = placeholder {
            let kind = kind(placeholder)?;
            let field = query.as_mut().and_then(|fields| fields.last_mut());
            field.map_or(&mut path, |field| &mut field.pieces).push(TemplatePiece { kind: Some(kind) });
        }
        rest = behind;
    }
    check_path(&path)?;
    let mut query = query.unwrap_or_default();
    query.retain(|field| !field.pieces.is_empty());
    query.iter().try_for_each(check_field)?;
    Ok(Template { path, query })
}

/// What comes before the first placeholder, its text, and what comes behind it.
fn next(text: &str) -> Result<(&str, Option<&str>, &str), String> {
    let Some((literal, opened)) = text.split_once('{') else {
        return if text.contains('}') { Err(unbalanced(text)) } else { Ok((text, None, "")) };
    };
    match opened.split_once('}') {
        Some((name, behind)) if !name.contains('{') && !literal.contains('}') => {
            Ok((literal, Some(name), behind))
        }
        _ => Err(unbalanced(text)),
    }
}

fn unbalanced(text: &str) -> String {
    format!("{text:?}: each `{{` needs a `}}` behind it; write a brace itself as %7B or %7D")
}

fn push(pieces: &mut Vec<TemplatePiece>, literal: &str) {
    if !literal.is_empty() {
        pieces.push(TemplatePiece { kind: Some(Kind::Literal(literal.to_owned())) });
    }
}

fn kind(placeholder: &str) -> Result<Kind, String> {
    let (source, name) = placeholder.split_once('.').unwrap_or((placeholder, ""));
    match (source, name) {
        ("segment", number) => match number.parse() {
            Ok(number) if (1..=MOST_SEGMENTS).contains(&number) => Ok(Kind::Segment(number)),
            _ => Err(format!("{{{placeholder}}}: segments are counted from 1, as {{segment.2}}")),
        },
        ("query", name) if !name.is_empty() => Ok(Kind::Query(name.to_owned())),
        ("claim", name) if !name.is_empty() => Ok(Kind::Claim(name.to_owned())),
        ("consumer", "username" | "customId" | "tier") => Ok(Kind::Consumer(name.to_owned())),
        _ => Err(format!(
            "{{{placeholder}}} is none of {{segment.N}}, {{query.NAME}}, {{claim.NAME}}, {{consumer.username}}, \
             {{consumer.customId}} and {{consumer.tier}}"
        )),
    }
}

/// With any value in place of the placeholders it must be a path. The value is no digit of an escape.
fn check_path(pieces: &[TemplatePiece]) -> Result<(), String> {
    let filled: String = pieces
        .iter()
        .map(|piece| match &piece.kind {
            Some(Kind::Literal(literal)) => literal,
            _ => "x",
        })
        .collect();
    check::path(&filled)
}

fn check_field(field: &TemplateField) -> Result<(), String> {
    let literals = field.pieces.iter().filter_map(|piece| match &piece.kind {
        Some(Kind::Literal(literal)) => Some(literal),
        _ => None,
    });
    for literal in literals {
        if literal.bytes().any(|byte| byte <= b' ' || byte >= 0x7f || b"\"<>\\#".contains(&byte)) {
            return Err(format!("{literal:?} in the query: write what needs it as `%20`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use gatehouse_proto::config::v1::{TemplatePiece, template_piece::Kind};

    use super::parse;

    fn shown(pieces: &[TemplatePiece]) -> String {
        let show = |piece: &TemplatePiece| match piece.kind.as_ref().unwrap() {
            Kind::Literal(literal) => literal.clone(),
            Kind::Segment(number) => format!("<{number}>"),
            Kind::Query(name) => format!("<?{name}>"),
            Kind::Claim(name) => format!("<claim {name}>"),
            Kind::Consumer(name) => format!("<consumer {name}>"),
        };
        pieces.iter().map(show).collect()
    }

    #[test]
    fn they_are_cut_into_pieces() {
        for (text, path, query) in [
            ("/", "/", &[][..]),
            ("/a/{segment.1}/b", "/a/<1>/b", &[]),
            ("/{segment.1}{segment.2}", "/<1><2>", &[]),
            ("/a?", "/a", &[]),
            ("/a?b=1&c={query.d}x&&e", "/a", &["b=1", "c=<?d>x", "e"]),
            ("/a?{query.k}={query.v}?{segment.3}", "/a", &["<?k>=<?v>?<3>"]),
            ("/{claim.https://x/a?b}/c?d=e", "/<claim https://x/a?b>/c", &["d=e"]),
            (
                "/{consumer.username}?t={consumer.tier}&id={consumer.customId}",
                "/<consumer username>",
                &["t=<consumer tier>", "id=<consumer customId>"],
            ),
            ("/a%7Bb", "/a%7Bb", &[]),
        ] {
            let template = parse(text).unwrap();
            assert_eq!(shown(&template.path), path, "{text}");
            let fields: Vec<String> = template.query.iter().map(|field| shown(&field.pieces)).collect();
            assert_eq!(fields, query, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told() {
        for (text, why) in [
            ("", "is no path"),
            ("a", "is no path"),
            ("{segment.1}", "is no path"),
            ("/..", "is no path"),
            ("/a/../../b", "is no path"),
            ("/%{segment.1}", "is no path"),
            ("/%2{segment.1}", "is no path"),
            ("/a b", "is no path"),
            ("/a#b", "is no path"),
            ("/a?b#c", "in the query"),
            ("/a?b=\"", "in the query"),
            ("/{", "needs a `}`"),
            ("/}", "needs a `}`"),
            ("/a}{segment.1}", "needs a `}`"),
            ("/{a{segment.1}}", "needs a `}`"),
            ("/{}", "is none of"),
            ("/{segment}", "counted from 1"),
            ("/{segment.0}", "counted from 1"),
            ("/{segment.-1}", "counted from 1"),
            ("/{segment.257}", "counted from 1"),
            ("/{query.}", "is none of"),
            ("/{claim}", "is none of"),
            ("/{consumer.groups}", "is none of"),
            ("/{header.x}", "is none of"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
