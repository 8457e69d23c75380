//! Patterns that texts in resources must match, for the schemas.
//!
//! The API server reads them as RE2, `gatehouse run` with the `regex` crate: they use what both know. Where the Gateway
//! API has a pattern for the same thing, this is it. Durations have a `maxLength` beside theirs only because CEL rules are
//! admitted by their worst cost.

/// GEP-2257: `1h30m`, `10s`, `500ms`.
pub(crate) const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Name of a listener or rule.
pub(crate) const SECTION: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Group of an API; empty for the core.
pub(crate) const GROUP: &str = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Kind of an object.
pub(crate) const KIND: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";

/// Name of a namespace (RFC 1123 label).
pub(crate) const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// A host name, or a wildcard for one or more labels.
pub(crate) const HOSTNAME: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A host name without a wildcard.
pub(crate) const PRECISE_HOSTNAME: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A host name or IPv4 address, perhaps with a port.
pub(crate) const PRECISE_AUTHORITY: &str =
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[0-9]{1,5})?$";

/// RFC 9110, 5.6.2: names of header fields and cookies, authentication schemes.
pub(crate) const TOKEN: &str = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$";

/// Name of a header field that tells backends something of a client.
pub(crate) const IDENTITY_HEADER: &str = "^[Xx]-[A-Za-z0-9-]+$";

/// A header field's value: no control characters but the tab.
pub(crate) const HEADER_VALUE: &str = r"^[^\x00-\x08\x0a-\x1f\x7f]*$";

/// RFC 6265, 4.1.1: a cookie's value, without quotes.
pub(crate) const COOKIE_VALUE: &str = r"^[!#-+\--:<-\[\]-~]*$";

/// A path that a request is sent on to.
pub(crate) const PATH: &str = "^/[^#?\\x00-\\x20\\x7f]*$";

/// What takes the place of a path's prefix; nothing at all is `/`.
pub(crate) const PREFIX_REPLACEMENT: &str = "^(/[^#?\\x00-\\x20\\x7f]*)?$";

/// A path with references to groups.
pub(crate) const SUBSTITUTION: &str = r"^([^#?$\x00-\x20\x7f]|\$[1-9$]|\$\{[A-Za-z_][0-9A-Za-z_]*\})+$";

/// What a backend is asked for: a path and perhaps a query, with values of the request in braces.
pub(crate) const TEMPLATE: &str = r"^/[^#\x00-\x20\x7f]*$";

/// Name of a member of a JSON object that needs no escape, and fits into a list in a header.
pub(crate) const MEMBER: &str = "^[A-Za-z0-9_][-.A-Za-z0-9_]*$";

/// An origin, whose host may be or begin with a wildcard; or any origin.
pub(crate) const ORIGIN: &str = r"^(\*|https?://(\*|(\*\.)?([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+)(:[0-9]{1,5})?)$";

/// A method (RFC 9110, 9; RFC 5789), or any.
pub(crate) const METHOD_OR_ANY: &str = r"^(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|\*)$";

/// Printable ASCII without spaces: names of query parameters.
pub(crate) const VISIBLE: &str = "^[!-~]+$";

/// One line of text, fit for a header field.
pub(crate) const LINE: &str = r"^[^\x00-\x1f\x7f]+$";

/// The same without the comma that separates the entries of a list.
pub(crate) const LIST_ENTRY: &str = r"^[^\x00-\x1f\x7f,]+$";

/// A user's name (RFC 7617, 2): a colon ends it.
pub(crate) const USER: &str = r"^[^\x00-\x1f\x7f:]+$";

/// Name of an entry of a Secret.
pub(crate) const SECRET_ENTRY: &str = "^[-._a-zA-Z0-9]+$";

/// RFC 7518, 3.1 and RFC 8037: what a token may be signed by.
pub(crate) const ALGORITHM: &str = "^((RS|PS|HS)(256|384|512)|ES(256|384)|EdDSA)$";

/// Whole, or what it begins with and `*`.
pub(crate) const SUBJECT: &str = r"^[^*]*\*?$";

/// An amount of a resource (Kubernetes' Quantity) that is not negative: `500m`, `1.5Gi`, `2e3`.
pub(crate) const QUANTITY: &str = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

/// A number of pods, or a share of them.
pub(crate) const COUNT_OR_PERCENT: &str = "^([0-9]{1,4}|[1-9]?[0-9]%|100%)$";

/// An IP address or CIDR.
pub(crate) const ADDRESS_RANGE: &str = concat!(
    r"^(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
    r"(/([0-9]|[12][0-9]|3[0-2]))?",
    r"|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?)$",
);

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::{
        ADDRESS_RANGE, ALGORITHM, COOKIE_VALUE, COUNT_OR_PERCENT, HEADER_VALUE, HOSTNAME, LIST_ENTRY, ORIGIN,
        PATH, PREFIX_REPLACEMENT, QUANTITY, SECTION, SUBJECT, SUBSTITUTION, TOKEN, USER,
    };

    #[test]
    fn patterns_draw_the_line() {
        for (pattern, good, bad) in [
            (ADDRESS_RANGE, &["10.0.0.0/8", "192.168.1.1", "::/0", "fd00::1/128", "::ffff:10.0.0.1"][..], {
                &["", "10.0.0/8", "10.0.0.0/33", "256.0.0.1", "fd00::/129", "10.0.0.0/08", "example.com"][..]
            }),
            (
                ALGORITHM,
                &["RS256", "PS512", "ES384", "EdDSA", "HS256"],
                &["none", "ES512", "rs256", "RS256 "],
            ),
            (COOKIE_VALUE, &["always", "a-b=c/d:e", "[~]"], &["a b", "a;b", "a,b", "\"a\"", "a\\b", "é"]),
            (COUNT_OR_PERCENT, &["0", "1", "50%", "100%"], &["", "-1", "%", "101%", "1.5"]),
            (HEADER_VALUE, &["", "a b", "a\tb", "é"], &["a\r\nb", "a\0", "\u{7f}"]),
            (
                HOSTNAME,
                &["a", "a.example.com", "*.example.com"],
                &["", "*", "*example.com", "a.*.com", "A.com", "a..b", "a:80"],
            ),
            (LIST_ENTRY, &["staff", "night shift"], &["", "a,b", "a\nb"]),
            (
                ORIGIN,
                &["*", "https://a.example.com", "http://*.example.com:8080", "https://*", "http://1.2.3.4"],
                &[
                    "",
                    "a",
                    "null",
                    "ftp://a",
                    "https://",
                    "https://a/",
                    "https://a.*",
                    "https://*a",
                    "https://a:x",
                ],
            ),
            (PREFIX_REPLACEMENT, &["", "/", "/a"], &["a", "/a b", "/a?b"]),
            (PATH, &["/", "/a/b", "/%20"], &["", "a", "/a b", "/a?b", "/a#b", "/a\r\nb"]),
            (QUANTITY, &["0", "500m", "1.5Gi", ".5", "2e3", "1k"], &["", "-1", "1 Gi", "1GiB", "half"]),
            (SECTION, &["http", "a.b"], &["", "Http", "a_b", "-a"]),
            (SUBJECT, &["alice", "svc-*", "*"], &["a*b", "**"]),
            (
                SUBSTITUTION,
                &["/$1", "$1", "/a/${rest}/$$", "/$10"],
                &["", "/$", "/$0", "/${1}", "/$a", "/a?b", "/a b"],
            ),
            (TOKEN, &["X-API-Key", "`", "~"], &["", "a b", "a:b", "é"]),
            (USER, &["zoë", "a b"], &["", "a:b", "a\nb"]),
        ] {
            let regex = Regex::new(pattern).unwrap();
            for text in good {
                assert!(regex.is_match(text), "{text:?} is refused by {pattern}");
            }
            for text in bad {
                assert!(!regex.is_match(text), "{text:?} is admitted by {pattern}");
            }
        }
    }
}
