//! Values that the schemas check as well. They are checked again because what a dataplane can't use it refuses whole:
//! here it becomes a condition on the object, and a safe answer. Errors are sentences without the field's name.

use gatehouse_crds::ClientIpKey;
use gatehouse_proto::config::v1;
use regex::RegexBuilder;

/// As the dataplane bounds it.
const EXPRESSION_BYTES: usize = 1 << 20;

/// A regular expression that must match the whole of a value.
pub(super) fn expression(pattern: &str) -> Result<(), String> {
    let shown: String = pattern.chars().take(80).collect();
    let build = |text: &str| RegexBuilder::new(text).size_limit(EXPRESSION_BYTES).build();
    // By itself as well: `a)|(b` is none, but between the dataplane's anchors and brackets it would be one without anchors.
    match build(pattern).and_then(|_| build(&format!(r"\A(?:{pattern})\z"))) {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => Err(format!("regular expression {shown:?} is too large")),
        // The library draws the place over several lines; its last line says what is wrong.
        Err(error) => {
            let text = error.to_string();
            let what = text.lines().next_back().unwrap_or("").trim().trim_start_matches("error: ").to_owned();
            Err(format!("regular expression {shown:?}: {what}"))
        }
    }
}

/// A path with `$1` to `$9`, `${name}` and `$$`, for groups that the expression has.
pub(super) fn substitution(text: &str, pattern: &str) -> Result<(), String> {
    let Ok(regex) = RegexBuilder::new(pattern).build() else { return Ok(()) };
    let has = |name: &str| match name.parse::<usize>() {
        Ok(number) => number < regex.captures_len(),
        Err(_) => regex.capture_names().flatten().any(|known| known == name),
    };
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once('$') {
        let (name, after) = match behind.as_bytes().first() {
            Some(b'$') => ("0", &behind[1..]),
            Some(b'1'..=b'9') => behind.split_at(1),
            Some(b'{') => behind[1..].split_once('}').unwrap_or(("", "")),
            _ => ("", ""),
        };
        if name.is_empty() {
            return Err(format!("{text:?}: write $1 to $9 or ${{name}} for a group, $$ for a dollar sign"));
        }
        if !has(name) {
            return Err(format!("{text:?}: the pattern has no group {name}"));
        }
        rest = after;
    }
    Ok(())
}

/// RFC 9110, 5.6.2.
pub(super) fn token(name: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("{name:?} is no header name: use letters, digits and `-`"));
    }
    Ok(())
}

/// A client's address, of which so many leading bits count.
pub(super) fn client_address(address: &ClientIpKey) -> Result<v1::ClientAddress, String> {
    let prefix = |field: &str, bits: i32, most: u32| {
        let bits = u32::try_from(bits).ok().filter(|bits| (1..=most).contains(bits));
        bits.ok_or_else(|| format!("clientIP.{field}: use 1 to {most}"))
    };
    Ok(v1::ClientAddress {
        ipv4_prefix: prefix("ipv4Prefix", address.ipv4_prefix, 32)?,
        ipv6_prefix: prefix("ipv6Prefix", address.ipv6_prefix, 128)?,
    })
}

/// Name of a member of a JSON object that needs no escape, and fits into a list in a header.
pub(super) fn member(name: &str) -> Result<(), String> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || name.len() > 63 || !name.bytes().all(inner) || name.starts_with(['-', '.']) {
        return Err(format!("{name:?} is no name of a member: use letters, digits, `_`, `-` and `.`"));
    }
    Ok(())
}

/// A header that users may change: not one that frames the message.
pub(super) fn header_name(name: &str) -> Result<(), String> {
    token(name)?;
    let framing = ["connection", "content-length", "transfer-encoding", "upgrade"];
    if framing.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
        return Err(format!("header {name} frames the message and can't be changed"));
    }
    Ok(())
}

/// A path that a request is sent on to, without query.
pub(super) fn path(path: &str) -> Result<(), String> {
    let refused = |byte: u8| byte <= b' ' || byte >= 0x7f || b"\"<>\\#?".contains(&byte);
    let mut escapes = path.split('%').skip(1);
    let is_escape = |after: &str| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00")
    };
    if !path.starts_with('/') || path.bytes().any(refused) || !escapes.all(is_escape) || leaves_root(path) {
        return Err(format!("{path:?} is no path: begin with `/` and write what needs it as `%20`"));
    }
    Ok(())
}

/// A host as an Ingress names it: a DNS name in lower case, or `*.` before one.
pub(super) fn hostname(hostname: &str) -> Result<(), String> {
    let name = hostname.strip_prefix("*.").unwrap_or(hostname);
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if hostname.len() > 253 || !name.split('.').all(is_label) {
        return Err(format!("{hostname:?} is no host: write a DNS name in lower case, or `*.` before one"));
    }
    Ok(())
}

/// An origin that a page may have (RFC 6454, 6.2), or a pattern of them: the host may be `*`, or begin with `*.`.
pub(super) fn origin(origin: &str) -> Result<(), String> {
    let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let is_good = origin == "*"
        || rest.is_some_and(|rest| {
            let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
            let host = host.to_ascii_lowercase();
            let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
            let is_port = |port: &str| digits(port) && port.parse::<u16>().is_ok_and(|port| port != 0);
            (host == "*" || hostname(&host).is_ok()) && port.is_none_or(is_port)
        });
    if !is_good {
        return Err(format!(
            "{origin:?} is no origin: write `*`, or scheme and host such as `https://*.example.com`"
        ));
    }
    Ok(())
}

fn leaves_root(path: &str) -> bool {
    let mut depth = 0_usize;
    path.split('/').skip(1).any(|segment| match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
        "." => false,
        ".." => {
            let is_root = depth == 0;
            depth = depth.saturating_sub(1);
            is_root
        }
        _ => {
            depth += 1;
            false
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{expression, header_name, hostname, member, origin, path};

    #[test]
    fn expressions() {
        for good in ["", "a", "/api/.*", "a|b", "(?i)x", "[0-9]{1,5}", "a)?".trim_end_matches(")?")] {
            assert_eq!(expression(good), Ok(()), "{good}");
        }
        for bad in ["(", "a)|(b", ")(", "[", "*", "(?=x)", r"\1", r"\w{100}{100}", &"x{1000}".repeat(100)] {
            let error = expression(bad).unwrap_err();
            assert!(error.starts_with("regular expression") && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn headers() {
        for good in ["X-A", "x_1", "!"] {
            assert_eq!(header_name(good), Ok(()), "{good}");
        }
        for bad in
            ["", "x y", "x:", "x\n", "é", "Connection", "CONTENT-LENGTH", "transfer-encoding", "upgrade"]
        {
            assert!(header_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn members() {
        for good in ["a", "_a", "9", "userName", "a-b.c_d", &"a".repeat(63)] {
            assert_eq!(member(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a\"", "a,b", "é", "a\n", &"a".repeat(64)] {
            assert!(member(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hostnames() {
        for good in ["a", "a.example.com", "*.example.com", "xn--9ca.example", "1.2"] {
            assert_eq!(hostname(good), Ok(()), "{good}");
        }
        for bad in
            ["", "*", "*.", "a..b", ".a", "a.", "*.*.a", "a.*", "A.b", "a b", "-a", "a-", "é", "a:80", "a/b"]
        {
            assert!(hostname(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn origins() {
        for good in ["*", "https://a", "http://a.B:8080", "https://*.a:1", "https://*", "http://10.0.0.1"] {
            assert_eq!(origin(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a",
            "null",
            "**",
            "ftp://a",
            "https://",
            "https://a/",
            "https://*a",
            "https://a.*",
            "https://a:",
            "https://a:0",
            "https://a:65536",
            "https://a:+1",
            "https://a@b",
            "https://[::1]",
            "HTTPS://a",
        ] {
            assert!(origin(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths() {
        for good in
            ["/", "//", "/a/b", "/a%20b", "/a/../b", "/a;b=c@:d", "/a/.", "/%2e%2e".trim_end_matches("%2e")]
        {
            assert_eq!(path(good), Ok(()), "{good}");
        }
        for bad in [
            "", "a", "/ ", "/a?b", "/a#b", "/\\", "/é", "/a\n", "/%", "/%2", "/%zz", "/%00", "/..",
            "/a/../..", "/%2E%2e",
        ] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }
}
