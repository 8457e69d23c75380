//! What a limit may look at.

use std::borrow::Cow;
use std::net::IpAddr;

use ::http::HeaderMap;
use ::http::header::{COOKIE, HeaderName};

use crate::auth::{Claims, plain_claim};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The client, behind trusted proxies.
    pub client: IpAddr,
    pub method: &'a str,
    /// Canonical.
    pub path: &'a str,
    /// In lower case, without port.
    pub host: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// The consumer, unique in the cluster: `namespace/name`.
    pub consumer: Option<&'a str>,
    /// The credential, unique within its consumer.
    pub credential: Option<&'a str>,
    /// The consumer's tier.
    pub tier: Option<&'a str>,
    /// The consumer's groups.
    pub groups: &'a [Box<str>],
    /// Of the token or certificate.
    pub claims: Option<&'a Claims>,
    /// The route object, as `Kind/namespace/name`.
    pub route: &'a str,
}

impl<'a> Facts<'a> {
    /// The field's combined value (RFC 9110, 5.3); empty when there is none.
    pub(super) fn header(&self, name: &HeaderName) -> Cow<'a, [u8]> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.as_bytes()).unwrap_or_default();
        let mut combined = Cow::Borrowed(first);
        for value in values {
            let combined = combined.to_mut();
            combined.extend_from_slice(b", ");
            combined.extend_from_slice(value.as_bytes());
        }
        combined
    }

    /// The first of the name, decoded.
    pub(super) fn query_param(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut pairs = form_urlencoded::parse(self.query.unwrap_or_default().as_bytes());
        pairs.find(|(of, _)| of == name).map(|(_, value)| value)
    }

    /// A claim that is a plain value, as text.
    pub(super) fn claim(&self, path: &str) -> Option<Cow<'a, str>> {
        plain_claim(self.claims?, path)
    }

    /// The first of the name (RFC 6265, 5.4), as it stands.
    pub(super) fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        let mut pairs =
            self.headers.get_all(COOKIE).into_iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
        pairs.find_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }
}
