//! Whether texts have the forms that the schemas ask for, and such forms.

/// A host name without a wildcard.
pub(super) fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Of milliseconds, in parts of at most five digits.
pub(super) fn duration(milliseconds: i64) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    match (seconds, rest) {
        (0, rest) => format!("{rest}ms"),
        (seconds, 0) => format!("{seconds}s"),
        (seconds, rest) => format!("{seconds}s{rest}ms"),
    }
}

/// Of a page; or `*`.
pub(super) fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.trim_end_matches('/').split_once("://") else { return text == "*" };
    let (host, port) = host.split_once(':').unwrap_or((host, "80"));
    let host = host.strip_prefix("*.").unwrap_or(host);
    let is_host =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    ["http", "https"].contains(&scheme) && is_host && port.parse::<u16>().is_ok()
}

/// Without repetitions.
pub(super) fn unique(list: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for one in list {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::{duration, is_host, is_origin};

    #[test]
    fn forms_are_those_of_the_schemas() {
        for (milliseconds, text) in [(1, "1ms"), (60_000, "60s"), (1500, "1s500ms"), (99_999_000, "99999s")] {
            assert_eq!(duration(milliseconds), text);
            assert!(gatehouse_crds::parse_duration(text).is_ok());
        }
        assert!(is_host("a.example.com") && !is_host("A.com") && !is_host("a..b") && !is_host("*.a"));
        assert!(
            is_origin("https://*.a.com:8443")
                && is_origin("*")
                && !is_origin("a.com")
                && !is_origin("ftp://a")
        );
    }
}
