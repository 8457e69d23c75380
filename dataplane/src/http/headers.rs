//! Which header fields may pass from one side to the other.
//!
//! What a client must not decide is removed before the gateway adds anything of its own, so that no list in a
//! `Connection` field can take away what the gateway has set. Framing fields never pass: each side's are made anew.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, Entry, HOST, TE, UPGRADE},
};

/// Prefix of the fields in which a backend reads who the client is.
pub(crate) const IDENTITY_PREFIX: &str = "x-consumer-";

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Fields that the gateway itself removes or sets on every route: no policy can give them another meaning.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with(IDENTITY_PREFIX)
        || matches!(name, "expect" | "trailer")
        || is_hop_by_hop(name)
        || is_forwarding(name)
        || is_also_ours(name)
}

/// RFC 9110, 7.6.1, and what is only ever meant for the next hop.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "transfer-encoding"
            | "upgrade"
            | "te"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "http2-settings"
    )
}

/// What only the gateway, or a proxy that it trusts, may say about the way a request took.
fn is_forwarding(name: &str) -> bool {
    matches!(
        name,
        "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-real-ip"
            | "forwarded"
    )
}

/// More names that must not come in under another spelling.
fn is_also_ours(name: &str) -> bool {
    matches!(name, "x-request-id" | "content-length" | "transfer-encoding" | "host")
}

/// Makes a client's fields fit for a backend: hop-by-hop fields, those that `Connection` lists, framing, expectations,
/// identity and other names of it go, and what the client claims of its way unless a trusted proxy says it.
pub(crate) fn clean_request(headers: &mut HeaderMap, from_trusted_proxy: bool) {
    let trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    remove_listed_by_connection(headers);
    remove_if(headers, |name| {
        is_hop_by_hop(name)
            || matches!(name, "content-length" | "expect" | "trailer")
            || (!from_trusted_proxy && is_forwarding(name))
            || name.starts_with(IDENTITY_PREFIX)
            || is_alias_of_ours(name)
    });
    if trailers {
        // gRPC backends want to see it.
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Makes the trailers of a request fit for a backend, which may take them for fields of the head.
pub(crate) fn clean_request_trailers(trailers: &mut HeaderMap) {
    trailers.remove(TE);
    clean_request(trailers, false);
    remove_if(trailers, |name| {
        is_also_ours(name)
            || name.starts_with("content-")
            || matches!(name, "authorization" | "cookie" | "traceparent" | "tracestate")
    });
}

/// Removes a field that only the gateway may set, under its name and under spellings that servers read as the same.
pub(crate) fn remove_with_aliases(headers: &mut HeaderMap, name: &HeaderName) {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
    remove_if(headers, |other| other.bytes().map(fold).eq(name.as_str().bytes().map(fold)));
}

/// Makes a backend's fields fit for the client.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    remove_listed_by_connection(headers);
    remove_if(headers, is_hop_by_hop);
}

/// A WebSocket handshake is between client and backend: these two pass through it.
pub(crate) fn set_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// `GET` over HTTP/1.1 with `Connection: upgrade` and `Upgrade: websocket`.
pub(crate) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    is_websocket(headers) && connection_tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// What this hop says of itself: the same for every request of a connection.
#[derive(Debug)]
pub(crate) struct Hop {
    peer: HeaderValue,
    scheme: HeaderValue,
    port: HeaderValue,
}

impl Hop {
    pub(crate) fn new(peer: IpAddr, scheme: &'static str, port: u16) -> Self {
        let peer = HeaderValue::try_from(peer.to_canonical().to_string());
        Hop {
            peer: peer.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            scheme: HeaderValue::from_static(scheme),
            port: HeaderValue::from(port),
        }
    }
}

/// Adds this hop to what is said of the request's way.
pub(crate) fn set_forwarded(headers: &mut HeaderMap, hop: &Hop, authority: &HeaderValue) {
    let way = with_earlier(headers, &hop.peer).unwrap_or_else(|| hop.peer.clone());
    headers.insert(X_FORWARDED_FOR, way);
    let mut set = |name, value: &HeaderValue| {
        if let Entry::Vacant(vacant) = headers.entry(name) {
            vacant.insert(value.clone());
        }
    };
    set(X_FORWARDED_PROTO, &hop.scheme);
    set(X_FORWARDED_HOST, authority);
    set(X_FORWARDED_PORT, &hop.port);
}

/// The hops before, and this one; `None` if nothing readable is said of any.
fn with_earlier(headers: &HeaderMap, peer: &HeaderValue) -> Option<HeaderValue> {
    let earlier: Vec<&str> =
        headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::to_str).collect::<Result<_, _>>().ok()?;
    if earlier.is_empty() {
        return None;
    }
    HeaderValue::try_from(format!("{}, {}", earlier.join(", "), peer.to_str().ok()?)).ok()
}

/// The client's address: the peer's, or behind trusted proxies the first address from the right of `X-Forwarded-For`
/// that is not one of theirs.
pub(crate) fn client_address(headers: &HeaderMap, peer: IpAddr, trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer.to_canonical();
    if !trusted(client) {
        return client;
    }
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev().filter_map(|line| line.to_str().ok());
    for hop in lines.flat_map(|line| line.rsplit(',')) {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
        if !trusted(client) {
            break;
        }
    }
    client
}

fn connection_tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    words(headers, &CONNECTION)
}

/// Of a list of words (RFC 9110, 5.6.1).
pub(crate) fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

fn remove_listed_by_connection(headers: &mut HeaderMap) {
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let listed: Vec<HeaderName> = connection_tokens(headers)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| *name != HOST)
        .collect();
    for name in listed {
        headers.remove(name);
    }
}

/// Other spellings that servers behind (CGI, WSGI, PHP) read as one of ours.
fn is_alias_of_ours(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let name = name.replace('_', "-");
    name.starts_with(IDENTITY_PREFIX) || is_forwarding(&name) || is_also_ours(&name)
}

fn remove_if(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    if !headers.keys().any(|name| unwanted(name.as_str())) {
        return;
    }
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Hop, clean_request, client_address, remove_with_aliases, set_forwarded};

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn a_client_decides_nothing_that_is_ours() {
        let mut request = headers(&[
            ("connection", "close, x-forwarded-for, X-Consumer-Username, x-foo, authorization, host"),
            ("host", "a"),
            ("x-foo", "own"),
            ("x-bar", "kept"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x-real-ip", "1.2.3.4"),
            ("x-consumer-username", "root"),
            ("x_consumer_username", "root"),
            ("x-consumer_tier", "gold"),
            ("content-length", "5"),
            ("te", "trailers"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("http2-settings", "AA"),
            ("expect", "100-continue"),
        ]);
        clean_request(&mut request, false);
        let mut names: Vec<_> = request.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "te", "x-bar"]);

        let hop = Hop::new("10.0.0.9".parse().unwrap(), "https", 8443);
        set_forwarded(&mut request, &hop, &HeaderValue::from_static("a:8443"));
        assert_eq!(request["x-forwarded-for"], "10.0.0.9");
        assert_eq!(request["x-forwarded-host"], "a:8443");
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_added_to() {
        let mut request = headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")]);
        clean_request(&mut request, true);
        let hop = Hop::new("10.0.0.9".parse().unwrap(), "http", 80);
        set_forwarded(&mut request, &hop, &HeaderValue::from_static("a"));
        assert_eq!(request["x-forwarded-for"], "1.2.3.4, 10.0.0.9");
        assert_eq!(request["x-forwarded-proto"], "https");
    }

    #[test]
    fn the_client_is_the_first_untrusted_from_the_right() {
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let of = |peer: &str, forwarded: &[&str]| {
            let lines: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
            client_address(&headers(&lines), peer.parse().unwrap(), trusted).to_string()
        };
        assert_eq!(of("9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(of("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"]), "1.1.1.1");
        assert_eq!(of("10.0.0.1", &["6.6.6.6", "1.1.1.1"]), "1.1.1.1");
        assert_eq!(of("10.0.0.1", &["junk, 10.0.0.3"]), "10.0.0.3");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(of("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn other_spellings_of_a_field_go_with_it() {
        for ours in ["x-user-id", "x_user_id"] {
            let mut headers = HeaderMap::new();
            for name in ["x-user-id", "x_user_id", "x-user_id", "x-user-ids", "x_other", "xuserid"] {
                headers.append(name, HeaderValue::from_static("v"));
                headers.append(name, HeaderValue::from_static("w"));
            }
            remove_with_aliases(&mut headers, &HeaderName::from_static(ours));
            let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            left.sort_unstable();
            assert_eq!(left, ["x-user-ids", "x_other", "xuserid"]);
        }
    }
}
