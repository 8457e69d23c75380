use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Given, Selection, Terms, Wants, is_known, update};

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let one = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(one).fold(HeaderMap::new(), |mut all, (name, value)| {
        all.append(name, value);
        all
    })
}

const NOW: u64 = 1_764_046_744;

fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn terms_of(status: u16, answer: &HeaderMap, request: &HeaderMap, is_own: bool) -> Option<Terms> {
    let given = Given {
        headers: request,
        is_own,
        stale_while_revalidate: Duration::from_secs(7),
        took: Duration::from_secs(2),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW),
    };
    Terms::of(StatusCode::from_u16(status).unwrap(), answer, given)
}

fn kept(status: u16, fields: &[(&'static str, &str)]) -> Option<u64> {
    terms_of(status, &headers(fields), &HeaderMap::new(), false).map(|terms| terms.fresh_for.as_secs())
}

#[test]
fn only_what_says_so_is_fresh() {
    let day = &date(NOW + 86_400);
    let past = &date(NOW - 1);
    for (fields, fresh_for) in [
        (&[("cache-control", "max-age=60")][..], Some(60)),
        (&[("cache-control", "MAX-AGE=\"60\"")], Some(60)),
        (&[("cache-control", "public, max-age=60, s-maxage=5")], Some(5)),
        (&[("cache-control", "max-age=60"), ("cache-control", "max-age=30")], Some(30)),
        (&[("cache-control", "max-age=99999999999999999999")], Some(1 << 31)),
        (&[("expires", day)], Some(86_400)),
        (&[("expires", day), ("cache-control", "max-age=60")], Some(60)),
        // Of no use: it has no time, or that is over, and there is nothing to ask by.
        (&[], None),
        (&[("cache-control", "public")], None),
        (&[("cache-control", "max-age=0")], None),
        (&[("cache-control", "max-age=1h")], None),
        (&[("cache-control", "no-cache, max-age=60")], None),
        (&[("expires", past)], None),
        (&[("expires", "0")], None),
        (&[("last-modified", "x"), ("cache-control", "no-store")], None),
        // It can be asked for again.
        (&[("etag", "\"a\"")], Some(0)),
        (&[("last-modified", past)], Some(0)),
        (&[("etag", "\"a\""), ("cache-control", "no-cache, max-age=60")], Some(0)),
        (&[("etag", "\"a\""), ("cache-control", "no-cache=\"set-cookie\", max-age=60")], Some(0)),
        // Not to be kept, in whatever case and quotes.
        (&[("cache-control", "max-age=60, No-Store")], None),
        (&[("cache-control", "max-age=60"), ("cache-control", "PRIVATE")], None),
        (&[("cache-control", "private=\"a, max-age=9\", max-age=60")], None),
        (&[("cache-control", "max-age=60, private=x-id")], None),
        (&[("cache-control", "max-age=60"), ("set-cookie", "a=b")], None),
        (&[("cache-control", "max-age=60"), ("content-range", "bytes 0-1/2")], None),
        // A word in quotes is no directive.
        (&[("cache-control", "x=\"no-store, private\", max-age=60")], Some(60)),
    ] {
        assert_eq!(kept(200, fields), fresh_for, "{fields:?}");
    }
    let unreadable = HeaderValue::from_bytes(b"max-age=60, \xff").unwrap();
    let mut answer = headers(&[("cache-control", "max-age=60")]);
    answer.append("cache-control", unreadable);
    assert_eq!(terms_of(200, &answer, &HeaderMap::new(), false), None);
}

#[test]
fn a_status_is_kept_if_its_answer_says_so() {
    for status in [200, 203, 204, 301, 302, 307, 404, 410, 418, 500, 503] {
        assert_eq!(kept(status, &[("cache-control", "max-age=60")]), Some(60), "{status}");
        let asked_again = kept(status, &[("etag", "\"a\"")]);
        assert_eq!(asked_again, (status == 200).then_some(0), "{status}");
    }
    for status in [101, 206, 304] {
        assert_eq!(kept(status, &[("cache-control", "max-age=60")]), None, "{status}");
    }
}

#[test]
fn what_was_given_to_somebody_is_for_all_only_if_it_says_so() {
    for (said, with_authorization, with_cookie) in [
        ("max-age=60", false, false),
        ("max-age=60, must-revalidate", true, false),
        ("max-age=60, public", true, true),
        ("s-maxage=60", true, true),
        ("max-age=60, private", false, false),
    ] {
        let answer = headers(&[("cache-control", said)]);
        let authorization = headers(&[("authorization", "Bearer a")]);
        let is_kept = |request: &HeaderMap, is_own| terms_of(200, &answer, request, is_own).is_some();
        assert_eq!(is_kept(&authorization, false), with_authorization, "{said}");
        assert_eq!(is_kept(&authorization, true), !said.contains("private"), "{said}");
        assert_eq!(is_kept(&headers(&[("cookie", "a=b")]), false), with_cookie, "{said}");
        assert_eq!(is_kept(&headers(&[("cookie", "a=b")]), true), with_cookie, "{said}");
    }
    let by_cookie = headers(&[("cache-control", "max-age=60"), ("vary", "Accept, Cookie")]);
    assert!(terms_of(200, &by_cookie, &headers(&[("cookie", "a=b")]), false).is_some());
}

#[test]
fn an_answer_has_an_age_when_it_comes() {
    for (fields, age) in [
        (&[][..], 2),
        (&[("age", "10")], 12),
        (&[("age", "ten")], 2),
        (&[("date", &date(NOW - 30))], 30),
        (&[("date", &date(NOW - 30)), ("age", "40")], 42),
        (&[("date", &date(NOW + 30))], 2),
    ] {
        let answer = headers(&[&[("cache-control", "max-age=60")], fields].concat());
        let terms = terms_of(200, &answer, &HeaderMap::new(), false).unwrap();
        assert_eq!(terms.age, Duration::from_secs(age), "{fields:?}");
    }
    // It has been fresh, elsewhere.
    assert_eq!(kept(200, &[("cache-control", "max-age=60, stale-while-revalidate=0"), ("age", "60")]), None);
}

#[test]
fn stale_answers_are_given_where_that_is_allowed() {
    for (said, while_revalidate, if_error) in [
        ("max-age=60", 7, 0),
        ("max-age=60, stale-while-revalidate=9, stale-if-error=8", 9, 8),
        ("max-age=60, stale-while-revalidate=0", 0, 0),
        ("s-maxage=60", 0, 0),
        ("s-maxage=60, stale-while-revalidate=9", 9, 0),
        ("max-age=60, must-revalidate, stale-while-revalidate=9, stale-if-error=8", 0, 0),
        ("max-age=60, proxy-revalidate, stale-if-error=8", 0, 0),
    ] {
        let terms = terms_of(200, &headers(&[("cache-control", said)]), &HeaderMap::new(), false).unwrap();
        let seconds = (terms.stale_while_revalidate.as_secs(), terms.stale_if_error.as_secs());
        assert_eq!(seconds, (while_revalidate, if_error), "{said}");
    }
}

#[test]
fn a_request_says_what_it_takes() {
    let wants = |fields: &[(&'static str, &str)]| Wants::of(&headers(fields));
    let takes = |said: &str, age: u64, fresh_for: i64| {
        wants(&[("cache-control", said)]).take(Duration::from_secs(age), fresh_for)
    };
    assert!(takes("", 100, -5) && takes("max-age=10", 10, 50) && takes("min-fresh=5", 0, 5));
    assert!(!takes("no-cache", 0, 50) && !takes("max-age=10", 11, 50) && !takes("min-fresh=5", 0, 4));
    assert!(!takes("max-age=0", 1, 50) && !takes("max-age=x", 1, 50));
    assert!(wants(&[("cache-control", "x=\"a,b\", NO-STORE")]).no_store);
    assert!(wants(&[("cache-control", "only-if-cached")]).only_if_cached);
    assert!(wants(&[("pragma", "No-Cache")]).no_cache);
    assert!(!wants(&[("pragma", "no-cache"), ("cache-control", "max-age=60")]).no_cache);
}

#[test]
fn an_answer_is_selected_by_the_fields_that_it_names() {
    let request = headers(&[("accept", "a"), ("accept", "b"), ("accept-language", "de")]);
    let of = |vary: &[(&'static str, &str)], request: &HeaderMap| Selection::of(&headers(vary), request);
    let selection = of(&[("vary", "Accept-Language, accept"), ("vary", "Accept")], &request).unwrap();
    assert!(selection.selects(&request));
    assert_eq!(selection.names().collect::<Vec<_>>(), ["accept", "accept-language"]);
    for other in [
        &[("accept", "a"), ("accept", "b")][..],
        &[("accept", "a"), ("accept-language", "de")],
        &[("accept", "b"), ("accept", "a"), ("accept-language", "de")],
        &[("accept", "a"), ("accept", "b"), ("accept-language", "en")],
    ] {
        assert!(!selection.selects(&headers(other)), "{other:?}");
    }
    assert!(of(&[], &request).unwrap().selects(&HeaderMap::new()));
    for unknowable in ["*", "accept, *", "a b"] {
        assert_eq!(of(&[("vary", unknowable)], &request), None, "{unknowable}");
    }
    let many: Vec<String> = (0..17).map(|index| format!("x-{index}")).collect();
    assert_eq!(of(&[("vary", &many.join(","))], &request), None);
}

#[test]
fn who_has_an_answer_does_not_get_it_again() {
    let answer = headers(&[("etag", "\"a\""), ("last-modified", &date(NOW))]);
    let known = |fields: &[(&'static str, &str)], status| {
        is_known(&headers(fields), StatusCode::from_u16(status).unwrap(), &answer)
    };
    for has in [
        ("if-none-match", "\"a\""),
        ("if-none-match", "\"b\", W/\"a\""),
        ("if-none-match", "*"),
        ("if-modified-since", &date(NOW)),
        ("if-modified-since", &date(NOW + 1)),
    ] {
        assert!(known(&[has], 200) && !known(&[has], 404), "{has:?}");
    }
    for has_not in
        [("if-none-match", "\"b\""), ("if-modified-since", &date(NOW - 1)), ("if-modified-since", "x")]
    {
        assert!(!known(&[has_not], 200), "{has_not:?}");
    }
    // The tag alone counts where there is one (RFC 9110, 13.1.3).
    assert!(!known(&[("if-none-match", "\"b\""), ("if-modified-since", &date(NOW))], 200));
    assert!(!known(&[], 200));
}

#[test]
fn a_confirmation_changes_all_but_the_body() {
    let kept = headers(&[
        ("etag", "\"a\""),
        ("x-a", "1"),
        ("x-a", "2"),
        ("content-type", "text/plain"),
        ("age", "5"),
    ]);
    let said =
        headers(&[("x-a", "3"), ("x-a", "4"), ("x-b", "5"), ("content-type", "no"), ("content-length", "0")]);
    let updated = update(&kept, &said);
    let all = |name: &str| {
        updated.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(",")
    };
    assert_eq!(
        [all("x-a"), all("x-b"), all("content-type"), all("etag")],
        ["3,4", "5", "text/plain", "\"a\""]
    );
    assert!(!updated.contains_key("content-length"));
}
