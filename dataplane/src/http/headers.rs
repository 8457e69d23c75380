//! Which header fields may pass from one side to the other.
//!
//! What a client must not decide is removed before the gateway adds anything of its own, so that no list in a
//! `Connection` field can take away what the gateway has set. Framing fields never pass: each side's are made anew.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

/// Prefix of the fields in which a backend reads who the client is.
pub(crate) const IDENTITY_PREFIX: &str = "x-consumer-";

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(crate) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What only the gateway, or a proxy that it trusts, may say about the way a request took.
static FORWARDING: [HeaderName; 6] =
    [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_FORWARDED_PORT, X_REAL_IP, FORWARDED];

/// More names that must not come in under another spelling.
static ALSO_OURS: [HeaderName; 4] = [X_REQUEST_ID, CONTENT_LENGTH, TRANSFER_ENCODING, HOST];

/// RFC 9110, 7.6.1, and what is only ever meant for the next hop.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHORIZATION,
    PROXY_AUTHENTICATE,
    HTTP2_SETTINGS,
];

/// Fields that the gateway itself removes or sets on every route: no policy can give them another meaning.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with(IDENTITY_PREFIX)
        || [EXPECT, TRAILER].contains(name)
        || HOP_BY_HOP.iter().chain(&FORWARDING).chain(&ALSO_OURS).any(|ours| ours == name)
}

/// Makes a client's fields fit for a backend: hop-by-hop fields, those that `Connection` lists, framing, expectations,
/// identity and other names of it go, and what the client claims of its way unless a trusted proxy says it.
pub(crate) fn clean_request(headers: &mut HeaderMap, from_trusted_proxy: bool) {
    let trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    remove_listed_by_connection(headers);
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(CONTENT_LENGTH);
    headers.remove(EXPECT);
    headers.remove(TRAILER);
    if trailers {
        // gRPC backends want to see it.
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if !from_trusted_proxy {
        for name in &FORWARDING {
            headers.remove(name);
        }
    }
    remove_if(headers, |name| name.starts_with(IDENTITY_PREFIX) || is_alias_of_ours(name));
}

/// Removes a field that only the gateway may set, under its name and under spellings that servers read as the same.
pub(crate) fn remove_with_aliases(headers: &mut HeaderMap, name: &HeaderName) {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
    remove_if(headers, |other| other.bytes().map(fold).eq(name.as_str().bytes().map(fold)));
}

/// Makes a backend's fields fit for the client.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    remove_listed_by_connection(headers);
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
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

/// Adds this hop to what is said of the request's way.
pub(crate) fn set_forwarded(
    headers: &mut HeaderMap,
    peer: IpAddr,
    scheme: &'static str,
    authority: &HeaderValue,
    port: u16,
) {
    let peer = peer.to_canonical();
    let value =
        match headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>()
        {
            Ok(earlier) if !earlier.is_empty() => format!("{}, {peer}", earlier.join(", ")),
            _ => peer.to_string(),
        };
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(X_FORWARDED_FOR, value);
    }
    if !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if !headers.contains_key(X_FORWARDED_HOST) {
        headers.insert(X_FORWARDED_HOST, authority.clone());
    }
    if !headers.contains_key(X_FORWARDED_PORT) {
        headers.insert(X_FORWARDED_PORT, HeaderValue::from(port));
    }
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
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
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
    let mut ours = FORWARDING.iter().chain(&ALSO_OURS);
    name.starts_with(IDENTITY_PREFIX) || ours.any(|ours| name == ours.as_str())
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

    use super::{clean_request, client_address, remove_with_aliases, set_forwarded};

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

        set_forwarded(
            &mut request,
            "10.0.0.9".parse().unwrap(),
            "https",
            &HeaderValue::from_static("a:8443"),
            8443,
        );
        assert_eq!(request["x-forwarded-for"], "10.0.0.9");
        assert_eq!(request["x-forwarded-host"], "a:8443");
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_added_to() {
        let mut request = headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")]);
        clean_request(&mut request, true);
        set_forwarded(&mut request, "10.0.0.9".parse().unwrap(), "http", &HeaderValue::from_static("a"), 80);
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
