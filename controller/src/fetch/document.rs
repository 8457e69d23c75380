//! What counts as a JWKS document (RFC 7517 section 5). Keys themselves are judged where they are used.

use serde_json::Value;

/// The error continues a sentence that begins with the URL, and quotes nothing: whoever wrote the URL may not be meant to
/// read what is behind it.
pub(super) fn check(body: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(body).map_err(|_| "is not UTF-8 text".to_owned())?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| format!("is not JSON (line {}, column {})", error.line(), error.column()))?;
    match value.get("keys") {
        Some(Value::Array(keys)) if keys.iter().all(Value::is_object) => Ok(text),
        Some(Value::Array(_)) => Err("is no JSON Web Key Set: a key is not an object".into()),
        _ => Err("is no JSON Web Key Set: it has no list `keys`".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_key_sets_pass() {
        let cases: [(&[u8], Option<&str>); 9] = [
            (br#"{"keys":[]}"#, None),
            (br#"{"keys":[{"kty":"RSA"}],"more":1}"#, None),
            (br#"{"keys":["a"]}"#, Some("a key is not an object")),
            (br#"{"keys":{}}"#, Some("no list `keys`")),
            (br"[]", Some("no list `keys`")),
            (b"<html>", Some("not JSON (line 1, column 1)")),
            (b"", Some("not JSON")),
            (br#"{"keys":[]} x"#, Some("not JSON")),
            (b"\xff", Some("not UTF-8")),
        ];
        for (body, wrong) in cases {
            let text = String::from_utf8_lossy(body);
            match (check(body.to_vec()), wrong) {
                (Ok(document), None) => assert_eq!(document, text),
                (Err(error), Some(wrong)) => assert!(error.contains(wrong), "{text}: {error}"),
                (result, _) => panic!("{text}: {result:?}"),
            }
        }
    }
}
