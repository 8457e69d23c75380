//! What is the same of requests that belong to one endpoint.

use std::net::IpAddr;

use gatehouse_proto::config::v1::{self, consistent_hash::Key as Wire};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::hash::of_bytes;
use crate::auth::cookie_values;

#[derive(Debug, Clone)]
pub(crate) enum Key {
    /// So many leading bits of the address.
    Client {
        v4: u8,
        v6: u8,
    },
    Header(HeaderName),
    Cookie {
        name: Box<str>,
        /// Who lacks it gets one with these attributes. `None`: nobody does.
        made: Option<Box<str>>,
    },
    Consumer,
}

/// Where requests that share something go, and what a client gets so that its next ones do.
#[derive(Debug, Default)]
pub(crate) struct Affinity {
    pub(crate) key: Option<u64>,
    pub(crate) set_cookie: Option<HeaderValue>,
}

/// Who wants an endpoint. Of a stream, the address is all there is.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    /// Behind trusted proxies.
    pub(crate) client: IpAddr,
    pub(crate) consumer: Option<&'a str>,
    pub(crate) headers: Option<&'a HeaderMap>,
    /// The client is spoken to over TLS.
    pub(crate) is_secure: bool,
}

impl Key {
    pub(crate) fn compile(hash: &v1::ConsistentHash) -> Result<Self, String> {
        let bits = |bits: u32, most: u8| {
            let bits = u8::try_from(bits).ok().filter(|bits| (1..=most).contains(bits));
            bits.ok_or_else(|| format!("consistent_hash.client_ip: a prefix has 1 to {most} bits"))
        };
        match &hash.key {
            Some(Wire::ClientIp(address)) => {
                Ok(Key::Client { v4: bits(address.ipv4_prefix, 32)?, v6: bits(address.ipv6_prefix, 128)? })
            }
            Some(Wire::Header(name)) => HeaderName::try_from(name.as_str())
                .map(Key::Header)
                .map_err(|_| format!("consistent_hash.header: {name:?} is no header name")),
            Some(Wire::Cookie(name)) => {
                let made = hash.made_cookie.as_ref().map(|made| match made.max_age_seconds {
                    0 => "Path=/; HttpOnly; SameSite=Lax".into(),
                    seconds => format!("Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax").into(),
                });
                Ok(Key::Cookie { name: name.as_str().into(), made })
            }
            Some(Wire::Consumer(_)) => Ok(Key::Consumer),
            None => Err("consistent_hash: this dataplane does not know its key".into()),
        }
    }

    /// As [`Key::of`], but who lacks the cookie gets one, if it is to be made.
    pub(crate) fn affinity(&self, asker: &Asker<'_>, mut random: impl FnMut() -> u64) -> Affinity {
        let key = self.of(asker);
        let Key::Cookie { name, made: Some(attributes) } = self else {
            return Affinity { key, set_cookie: None };
        };
        if key.is_some() || asker.headers.is_none() {
            return Affinity { key, set_cookie: None };
        }
        let value = format!("{:016x}{:016x}", random(), random());
        let secure = if asker.is_secure { "; Secure" } else { "" };
        Affinity {
            key: Some(of_bytes(value.as_bytes())),
            set_cookie: HeaderValue::try_from(format!("{name}={value}; {attributes}{secure}")).ok(),
        }
    }

    /// `None`: the request lacks it.
    pub(super) fn of(&self, asker: &Asker<'_>) -> Option<u64> {
        match self {
            Key::Client { v4, v6 } => {
                let address = asker.client.to_canonical();
                let bits = if address.is_ipv4() { *v4 } else { *v6 };
                Some(match IpNet::new(address, bits).map_or(address, |net| net.network()) {
                    IpAddr::V4(network) => of_bytes(&network.octets()),
                    IpAddr::V6(network) => of_bytes(&network.octets()),
                })
            }
            Key::Header(name) => Some(of_bytes(asker.headers?.get(name)?.as_bytes())),
            Key::Cookie { name, .. } => cookie_values(asker.headers?, name).next().map(of_bytes),
            Key::Consumer => asker.consumer.map(|consumer| of_bytes(consumer.as_bytes())),
        }
    }
}
