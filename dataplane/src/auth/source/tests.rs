use http::{HeaderMap, HeaderValue};

use super::{Found, Request, Source, find, strip};

fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn sources() -> [Source; 4] {
    [Source::bearer(), Source::x_api_key(), Source::Query("key".into()), Source::Cookie("k".into())]
}

/// What is found, with `several` for more than one.
fn found(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    match find(&sources(), Request { headers, query, client: [127, 0, 0, 1].into(), certificate: None }) {
        Found::Nothing => None,
        Found::One(value) => Some(value.into()),
        Found::Several => Some("several".into()),
    }
}

#[test]
fn one_place_and_once() {
    for (lines, query, wanted) in [
        (&[][..], None, None),
        (&[("authorization", &b"Bearer t"[..])], None, Some("t")),
        (&[("authorization", b"bEARER   t")], None, Some("t")),
        (&[("authorization", b"Bearer t u")], None, Some("t u")),
        (&[("authorization", b"Bearer\tt")], None, Some("")),
        (&[("authorization", b"Bearer")], None, Some("")),
        (&[("authorization", b"Bearer \xff")], None, Some("")),
        (&[("authorization", b"Bearer-t")], None, None),
        (&[("authorization", b" t")], None, None),
        (&[("authorization", b"")], None, None),
        (&[("authorization", b"Basic t")], None, None),
        (&[("authorization", b"Bearer t"), ("authorization", b"Bearer t")], None, Some("several")),
        (&[("x-api-key", b"t"), ("authorization", b"Bearer t")], None, Some("several")),
        (&[], Some("a=1&key=x%2Ey+z"), Some("x.y z")),
        (&[], Some("%6bey=x"), Some("x")),
        (&[], Some("key="), Some("")),
        (&[], Some("KEY=x&keys=x&a=key"), None),
        (&[], Some("key=x&key=y"), Some("several")),
        (&[("cookie", b"a=b; k=c=d")], None, Some("c=d")),
        (&[("cookie", b"a=\xff;k = c;kk=x;K=x")], None, Some("c")),
        (&[("cookie", b"k=c; k=c")], None, Some("several")),
        (&[("cookie", b"k=c"), ("cookie", b"k=d")], None, Some("several")),
        (&[("cookie", b"k")], None, None),
        (&[("cookie", b"k=\xff")], None, Some("")),
    ] {
        let headers = headers(lines);
        assert_eq!(found(&headers, query).as_deref(), wanted, "{headers:?} {query:?}");
    }
}

#[test]
fn credentials_are_taken_out_and_the_rest_stays() {
    for (lines, kept) in [
        (&[("authorization", &b"Basic other"[..])][..], &[("authorization", &b"Basic other"[..])][..]),
        (&[("authorization", b"Bearer\tx")], &[]),
        (&[("authorization", b"Basic x"), ("authorization", b"bearer y")], &[("authorization", b"Basic x")]),
        (&[("x-api-key", b"x"), ("x-api-key", b"y"), ("x-api-keys", b"z")], &[("x-api-keys", b"z")]),
        (&[("cookie", b"a=b; k=x")], &[("cookie", b"a=b")]),
        (&[("cookie", b"k=x")], &[]),
        (
            &[("cookie", b"a;b=\xff;c=\"d\" ; k=x;k=y"), ("cookie", b"e=f")],
            &[("cookie", b"a; b=\xff; c=\"d\""), ("cookie", b"e=f")],
        ),
        (&[("cookie", b"a=b;c=d")], &[("cookie", b"a=b;c=d")]),
    ] {
        let mut request = headers(lines);
        assert_eq!(strip(sources().iter(), &mut request, None), None);
        assert_eq!(request, headers(kept));
        assert_eq!(found(&request, None), None);
    }
    for (query, kept) in [
        ("a=1&key=secret&b=%20", Some("a=1&b=%20")),
        ("key=x", Some("")),
        ("%6Bey=x&&a", Some("&a")),
        ("key&key=x&a=key", Some("a=key")),
        ("a=1", None),
        ("", None),
    ] {
        let stripped = strip(sources().iter(), &mut HeaderMap::new(), Some(query));
        assert_eq!(stripped.as_deref(), kept, "{query}");
    }
    let two = [Source::Query("a".into()), Source::Query("b".into())];
    let stripped = strip(two.iter(), &mut HeaderMap::new(), Some("a=1&b=2&c=3"));
    assert_eq!(stripped.as_deref(), Some("c=3"));
}
