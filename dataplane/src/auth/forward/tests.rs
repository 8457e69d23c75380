use gatehouse_proto::config::v1::ClaimHeader;
use http::HeaderMap;
use serde_json::json;

use super::ClaimHeaders;

#[test]
fn claims_become_text() {
    let claims = json!({
        "text": "a, b",
        "name": "zoë",
        "empty": "",
        "number": 5,
        "fraction": 1.5,
        "flag": true,
        "null": null,
        "list": ["a", 1, false],
        "none": [],
        "comma": ["a", "b,admin"],
        "nested": [["a"]],
        "object": {"b": 1, "a": {"c": "d", "e.f": "g"}},
        "https://example.com/roles": ["x"],
        "https://example": "no object",
        "https://example.com/app": {"role": "y"},
        "deep": {"x": {"y": "short"}},
        "deep.x": {"y": "long"},
        "evil": "x\r\nX-Consumer-Username: root",
        "nul": "x\u{0}",
        "in list": ["x\n"],
    });
    for (claim, wanted) in [
        ("text", Some("a, b")),
        ("name", Some("zoë")),
        ("empty", Some("")),
        ("number", Some("5")),
        ("fraction", Some("1.5")),
        ("flag", Some("true")),
        ("null", None),
        ("list", Some("a,1,false")),
        ("none", None),
        ("comma", None),
        ("nested", Some(r#"[["a"]]"#)),
        ("object", Some(r#"{"a":{"c":"d","e.f":"g"},"b":1}"#)),
        ("object.b", Some("1")),
        ("object.a.c", Some("d")),
        ("object.a.e.f", Some("g")),
        ("object.b.c", None),
        ("object.", None),
        (".object", None),
        ("absent", None),
        ("text.a", None),
        ("https://example.com/roles", Some("x")),
        ("https://example.com/app.role", Some("y")),
        ("deep.x.y", Some("long")),
        ("evil", None),
        ("nul", None),
        ("in list", None),
    ] {
        let wire = [ClaimHeader { claim: claim.into(), header: "X-Claim".into() }];
        let compiled = ClaimHeaders::compile(&wire, |_| false).unwrap();
        let mut headers = HeaderMap::new();
        compiled.write(claims.as_object().unwrap(), &mut headers);
        let written = headers.get("x-claim").map(|value| std::str::from_utf8(value.as_bytes()).unwrap());
        assert_eq!(written, wanted, "{claim}");
    }
}
