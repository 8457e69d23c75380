use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderValue, Method, header::HeaderName};

use super::{Cors, asked_method};

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(field).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn with_origins(origins: &[&str], allow_credentials: bool) -> Cors {
    Cors::compile(&v1::Cors { allow_origins: texts(origins), allow_credentials, ..v1::Cors::default() })
        .unwrap()
}

/// What the response to a request from this origin says, over what a backend said.
fn written(cors: &Cors, origin: Option<&str>) -> HeaderMap {
    let request = origin.map(|origin| headers(&[("origin", origin)])).unwrap_or_default();
    let mut response = headers(&[
        ("access-control-allow-origin", "https://the-backend-says"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "x-inside"),
    ]);
    cors.sharing(&request).write(&mut response);
    response
}

#[test]
fn origins() {
    for (pattern, good, bad) in [
        (
            "https://www.foo.com",
            &["https://www.foo.com", "https://www.foo.com:443", "https://WWW.foo.com"][..],
            &[
                "http://www.foo.com",
                "https://foo.com",
                "https://www.foo.com:8443",
                "https://www.foo.com.evil.com",
                "https://evil.com/www.foo.com",
                "https://www.foo.com@evil.com",
                "https://a@www.foo.com",
                "null",
                "",
            ][..],
        ),
        (
            "https://*.bar.com",
            &["https://www.bar.com", "https://a.b.bar.com"],
            &[
                "https://bar.com",
                "https://.bar.com/",
                "https://evilbar.com",
                "https://evil.com/.bar.com",
                "https://x?.bar.com",
            ],
        ),
        ("http://*:8080", &["http://a:8080", "http://a.b.c:8080"], &["http://a", "https://a:8080", "null"]),
        ("http://a", &["http://a", "http://a:80"], &["http://a:+80", "http://a:"]),
    ] {
        let cors = with_origins(&[pattern], true);
        for origin in good {
            let response = written(&cors, Some(origin));
            assert_eq!(response["access-control-allow-origin"], *origin, "{pattern}");
            assert_eq!(response["access-control-allow-credentials"], "true", "{pattern}");
            assert_eq!(response["vary"], "Origin", "{pattern}");
        }
        for origin in bad {
            let response = written(&cors, Some(origin));
            assert_eq!(response.keys().collect::<Vec<_>>(), ["vary"], "{pattern}: {origin}");
        }
        assert_eq!(written(&cors, None).keys().collect::<Vec<_>>(), ["vary"], "{pattern}");
    }
}

#[test]
fn every_origin() {
    let open = written(&with_origins(&["*"], false), Some("https://a"));
    assert_eq!(open["access-control-allow-origin"], "*");
    assert_eq!(open.len(), 1, "{open:?}");
    // GEP-1767: with credentials the origin is told by name.
    let named = written(&with_origins(&["*"], true), Some("https://a"));
    assert_eq!(named["access-control-allow-origin"], "https://a");
    assert_eq!(named["access-control-allow-credentials"], "true");
    assert_eq!(named["vary"], "Origin");
    assert!(
        written(&with_origins(&[], true), Some("https://a")).get("access-control-allow-origin").is_none()
    );
}

#[test]
fn lists() {
    let ask = headers(&[
        ("origin", "https://a"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization,x-b"),
    ]);
    for (list, methods, fields) in [
        (&["PATCH", "PUT"][..], Some("PATCH, PUT"), Some("PATCH, PUT")),
        (&["*"], Some("PUT"), Some("authorization,x-b")),
        (&[], None, None),
    ] {
        let wire = v1::Cors {
            allow_origins: texts(&["https://a"]),
            allow_methods: texts(list),
            allow_headers: texts(list),
            max_age_seconds: 60,
            ..v1::Cors::default()
        };
        let cors = Cors::compile(&wire).unwrap();
        let told = cors.preflight(&ask);
        let text = |name: &str| told.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(text("access-control-allow-methods"), methods, "{list:?}");
        assert_eq!(text("access-control-allow-headers"), fields, "{list:?}");
        assert_eq!(text("access-control-max-age"), Some("60"));
        assert!(cors.preflight(&headers(&[("origin", "https://b")])).is_empty());
    }
}

#[test]
fn exposed_headers() {
    for (list, credentials, wanted) in [
        (&["x-a", "x-b"][..], true, Some("x-a, x-b")),
        (&["*"], false, Some("*")),
        (&["*"], true, None),
        (&[], false, None),
    ] {
        let wire = v1::Cors {
            allow_origins: texts(&["https://a"]),
            allow_credentials: credentials,
            expose_headers: texts(list),
            ..v1::Cors::default()
        };
        let response = written(&Cors::compile(&wire).unwrap(), Some("https://a"));
        let told = response.get("access-control-expose-headers").map(|value| value.to_str().unwrap());
        assert_eq!(told, wanted, "{list:?} {credentials}");
    }
}

#[test]
fn what_is_a_preflight() {
    let whole = headers(&[("origin", "https://a"), ("access-control-request-method", "PUT")]);
    assert_eq!(asked_method(&Method::OPTIONS, &whole), Some(Method::PUT));
    assert_eq!(asked_method(&Method::GET, &whole), None);
    assert_eq!(asked_method(&Method::OPTIONS, &headers(&[("origin", "https://a")])), None);
    assert_eq!(asked_method(&Method::OPTIONS, &headers(&[("access-control-request-method", "PUT")])), None);
}

#[test]
fn what_can_not_stand_is_refused() {
    for origin in [
        "",
        "a",
        "https://",
        "https://*a",
        "https://a.*",
        "https://*.",
        "https://*.*.a",
        "https://a:x",
        "ftp://a",
    ] {
        let wire = v1::Cors { allow_origins: texts(&[origin]), ..v1::Cors::default() };
        assert!(Cors::compile(&wire).is_err(), "{origin}");
    }
    let wire = v1::Cors { allow_headers: texts(&["a\r\nb"]), ..v1::Cors::default() };
    assert!(Cors::compile(&wire).is_err());
}
