//! What values become in their places, and what they can't do there.

use std::borrow::Cow;

use gatehouse_proto::config::v1::{TemplateField, TemplatePiece, template_piece::Kind};
use http::uri::PathAndQuery;
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::{ConsumerField, LONGEST, Template, Values};
use crate::Reason;

fn literal(text: &str) -> Kind {
    Kind::Literal(text.into())
}

fn pieces(kinds: Vec<Kind>) -> Vec<TemplatePiece> {
    kinds.into_iter().map(|kind| TemplatePiece { kind: Some(kind) }).collect()
}

fn template(path: Vec<Kind>, query: Vec<Vec<Kind>>) -> Template {
    let query: Vec<_> = query.into_iter().map(|field| TemplateField { pieces: pieces(field) }).collect();
    Template::compile(&pieces(path), &query).unwrap()
}

/// For a request of this path and query, by somebody whose claim `sub` is this.
fn render(template: &Template, path: &str, query: Option<&str>, sub: Option<&str>) -> Result<String, Reason> {
    let claim = |name: &str| sub.filter(|_| name == "sub").map(|sub| Cow::Owned(sub.to_owned()));
    let consumer = |field: ConsumerField| match field {
        ConsumerField::Username => Some(&b"al ice"[..]),
        ConsumerField::CustomId => None,
        ConsumerField::Tier => Some(&b"gold"[..]),
    };
    let values = Values { path, query, claim: &claim, consumer: &consumer };
    template.render(&values).map(|path: PathAndQuery| path.to_string())
}

#[test]
fn values_are_written_where_they_belong() {
    let all = template(
        vec![literal("/a/"), Kind::Segment(2), literal("-"), Kind::Consumer("username".into())],
        vec![
            vec![literal("fixed=1")],
            vec![literal("q="), Kind::Query("q".into())],
            vec![literal("by="), Kind::Claim("sub".into())],
            vec![literal("id="), Kind::Consumer("customId".into())],
            vec![literal("tier="), Kind::Consumer("tier".into())],
        ],
    );
    for (path, query, sub, wanted) in [
        ("/x/7", Some("q=1&q=2"), Some("me"), Ok("/a/7-al%20ice?fixed=1&q=1&by=me&tier=gold")),
        ("/x/7/8", Some("q="), None, Ok("/a/7-al%20ice?fixed=1&q=&tier=gold")),
        ("/x/a%2Fb%20c;d=1@:", None, None, Ok("/a/a%2Fb%20c%3Bd%3D1%40%3A-al%20ice?fixed=1&tier=gold")),
        (
            "/x/%C3%A9",
            Some("%71=a+b%26c%3D"),
            None,
            Ok("/a/%C3%A9-al%20ice?fixed=1&q=a%20b%26c%3D&tier=gold"),
        ),
        ("/x", None, None, Err(Reason::ValueMissing)),
        ("/x/", None, None, Err(Reason::ValueMissing)),
    ] {
        assert_eq!(render(&all, path, query, sub).as_deref().map_err(|reason| *reason), wanted, "{path}");
    }
    let fixed = template(vec![literal("/a")], vec![vec![literal("b")]]);
    assert_eq!(render(&fixed, "/", None, None).as_deref(), Ok("/a?b"));
    let none_left = template(vec![literal("/a")], vec![vec![literal("q="), Kind::Query("q".into())]]);
    assert_eq!(render(&none_left, "/", None, None).as_deref(), Ok("/a"));
}

/// Decoded once by the gateway, and perhaps once more by the backend.
#[test]
fn a_value_leads_nowhere_else() {
    let alone = template(vec![literal("/users/"), Kind::Query("id".into())], vec![]);
    let within = template(vec![literal("/users/"), Kind::Query("id".into()), literal("/orders")], vec![]);
    let glued = template(
        vec![literal("/users/."), Kind::Query("id".into()), Kind::Query("id2".into()), literal("..")],
        vec![],
    );
    for (query, wanted) in [
        ("id=a/b", Ok("a%2Fb")),
        ("id=a?b=c", Ok("a%3Fb%3Dc")),
        ("id=a%23b", Ok("a%23b")),
        ("id=%252e%252e%252fadmin", Ok("%252e%252e%252fadmin")),
        ("id=a%26b", Ok("a%26b")),
        ("id=...", Ok("...")),
        ("id=a..b", Ok("a..b")),
        ("id=%E2%80%AE", Ok("%E2%80%AE")),
        ("id=..", Err(Reason::ValueMissing)),
        ("id=.", Err(Reason::ValueMissing)),
        ("id=%2e%2e", Err(Reason::ValueMissing)),
        ("id=../admin", Err(Reason::ValueMissing)),
        ("id=..%2fadmin", Err(Reason::ValueMissing)),
        ("id=..%5cadmin", Err(Reason::ValueMissing)),
        ("id=a/../../admin", Err(Reason::ValueMissing)),
        ("id=a/..", Err(Reason::ValueMissing)),
        ("id=..;/admin", Err(Reason::ValueMissing)),
        ("id=..%3bx=1/admin", Err(Reason::ValueMissing)),
        ("id=a%00", Err(Reason::ValueMissing)),
        ("id=a%0d%0aHost:%20b", Err(Reason::ValueMissing)),
        ("id=%7f", Err(Reason::ValueMissing)),
        ("id=", Err(Reason::ValueMissing)),
        ("id", Err(Reason::ValueMissing)),
        ("ID=1", Err(Reason::ValueMissing)),
        ("", Err(Reason::ValueMissing)),
    ] {
        for (template, behind) in [(&alone, ""), (&within, "/orders")] {
            let wanted = wanted.map(|value| format!("/users/{value}{behind}"));
            assert_eq!(render(template, "/", Some(query), None), wanted, "{query}");
        }
    }
    // What no value does alone they don't do together, or with what stands beside them.
    for query in ["id=.%2f&id2=a", "id=a&id2=%2f", "id=a&id2=%5c"] {
        assert!(render(&glued, "/", Some(query), None).is_err(), "{query}");
    }
    assert_eq!(render(&glued, "/", Some("id=a&id2=b"), None).as_deref(), Ok("/users/.ab.."));
}

#[test]
fn in_a_query_a_value_is_one_value() {
    let template = template(
        vec![literal("/a")],
        vec![vec![literal("q="), Kind::Query("q".into())], vec![literal("admin=0")]],
    );
    for (query, wanted) in [
        ("q=1%26admin=1", "q=1%26admin%3D1"),
        ("q=1%23", "q=1%23"),
        ("q=..%2F", "q=..%2F"),
        ("q=a%0d%0ab", "q=a%0D%0Ab"),
        ("q=%00", "q=%00"),
        ("q=+", "q=%20"),
        ("q=%2B", "q=%2B"),
    ] {
        let wanted = format!("/a?{wanted}&admin=0");
        assert_eq!(render(&template, "/", Some(query), None).as_deref(), Ok(&*wanted), "{query}");
    }
}

#[test]
fn a_target_does_not_grow_without_end() {
    let twice = template(vec![literal("/"), Kind::Claim("sub".into()), Kind::Claim("sub".into())], vec![]);
    let long = "é".repeat(LONGEST / 12 + 1);
    assert_eq!(render(&twice, "/", None, Some(&long)), Err(Reason::UriTooLong));
    assert!(render(&twice, "/", None, Some(&"a".repeat(LONGEST / 2 - 1))).is_ok());
}

#[test]
fn what_is_no_template_is_refused() {
    for path in [
        vec![],
        vec![literal("a")],
        vec![Kind::Segment(1)],
        vec![literal("/%"), Kind::Segment(1)],
        vec![literal("/..")],
    ] {
        assert!(Template::compile(&pieces(path.clone()), &[]).is_err(), "{path:?}");
    }
    for kind in [Kind::Segment(0), Kind::Consumer("groups".into())] {
        assert!(Template::compile(&pieces(vec![literal("/"), kind.clone()]), &[]).is_err(), "{kind:?}");
    }
    assert!(Template::compile(&[TemplatePiece { kind: None }], &[]).is_err());
}

proptest! {
    /// Whatever it holds, a value is one segment, and what a form's decoder gets back is the value.
    #[test]
    fn a_value_stays_one_value(value: String) {
        let both = template(vec![literal("/a/"), Kind::Claim("sub".into()), literal("/b")], vec![vec![
            literal("v="),
            Kind::Claim("sub".into()),
        ]]);
        if let Ok(target) = render(&both, "/", None, Some(&value)) {
            let (path, query) = target.split_once('?').unwrap();
            prop_assert_eq!(path.split('/').count(), 4);
            prop_assert!(path.starts_with("/a/") && path.ends_with("/b"));
            let fields: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            prop_assert_eq!(fields.len(), 1);
            prop_assert_eq!(&fields[0].1, &value);
        }
    }
}
