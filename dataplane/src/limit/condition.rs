//! Which requests a limit counts.

use ::http::header::{HeaderName, HeaderValue};
use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::limit_condition::Kind as Wire;
use ipnet::IpNet;

use super::Facts;

#[derive(Debug)]
pub(super) struct Condition {
    /// It holds when the kind does not.
    not: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Methods(Vec<String>),
    /// Without a slash at its end, so that `/` is empty.
    PathPrefix(String),
    /// The combined value (RFC 9110, 5.3), or any.
    Header(HeaderName, Option<HeaderValue>),
    Client(Vec<IpNet>),
    Tiers(Vec<String>),
    Groups(Vec<String>),
    Anonymous,
}

impl Condition {
    /// The error is what is wrong, without its place.
    pub(super) fn compile(wire: &v1::LimitCondition) -> Result<Condition, String> {
        let kind = match &wire.kind {
            Some(Wire::Methods(methods)) => Kind::Methods(methods.of.clone()),
            Some(Wire::PathPrefix(prefix)) if prefix.starts_with('/') => {
                Kind::PathPrefix(prefix.trim_end_matches('/').to_owned())
            }
            Some(Wire::PathPrefix(prefix)) => return Err(format!("{prefix:?} is no path")),
            Some(Wire::Header(header)) => {
                let name = HeaderName::try_from(header.name.as_str())
                    .map_err(|_| format!("no header can be called {:?}", header.name))?;
                let value = header.value.as_deref().map(HeaderValue::try_from).transpose();
                Kind::Header(name, value.map_err(|_| "no header can have this value".to_owned())?)
            }
            Some(Wire::ClientRanges(ranges)) => {
                let ranges = ranges.of.iter().map(|text| {
                    let network =
                        text.parse().or_else(|_| text.parse().map(|one: std::net::IpAddr| one.into()));
                    network.map_err(|_| format!("{text:?} is no address range"))
                });
                Kind::Client(ranges.collect::<Result<_, _>>()?)
            }
            Some(Wire::Tiers(tiers)) => Kind::Tiers(tiers.of.clone()),
            Some(Wire::Groups(groups)) => Kind::Groups(groups.of.clone()),
            Some(Wire::Anonymous(_)) => Kind::Anonymous,
            None => return Err("this dataplane does not know it".to_owned()),
        };
        Ok(Condition { not: wire.not, kind })
    }

    pub(super) fn needs_identity(&self) -> bool {
        matches!(self.kind, Kind::Tiers(_) | Kind::Groups(_) | Kind::Anonymous)
    }

    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        self.not != self.kind.holds(facts)
    }
}

impl Kind {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Kind::Methods(methods) => methods.iter().any(|method| method == facts.method),
            Kind::PathPrefix(prefix) => facts
                .path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Kind::Header(name, None) => facts.headers.contains_key(name),
            Kind::Header(name, Some(value)) => {
                facts.headers.contains_key(name) && facts.header(name) == value.as_bytes()
            }
            Kind::Client(ranges) => {
                // An IPv4 client that came over a dual-stack socket is the same client.
                let client = facts.client.to_canonical();
                ranges.iter().any(|range| range.contains(&client))
            }
            Kind::Tiers(tiers) => facts.tier.is_some_and(|of| tiers.iter().any(|tier| tier == of)),
            Kind::Groups(groups) => facts.groups.iter().any(|of| groups.iter().any(|group| **group == **of)),
            Kind::Anonymous => facts.credential.is_none() && facts.consumer.is_none(),
        }
    }
}
