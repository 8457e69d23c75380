//! Services of type ExternalName: a name in place of endpoints.
//!
//! Whoever may write a Service chooses by it where the gateway connects to (CVE-2021-25740 is of this kind). So a Gateway
//! serves them only where its GatewayConfig says so, and never a name that stands for the gateway itself or for what a
//! ReferenceGrant guards.

use std::net::IpAddr;

use gatehouse_crds::ExternalNames;
use gatehouse_proto::config::v1;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    check,
    conditions::{Problem, reason},
};
use crate::resources::ObjectKey;

/// Names below these are the gateway's own or the cluster's.
const OWN: [&str; 3] = ["localhost", "svc", "cluster.local"];

/// What its requests are for, if it is one. The problem is a whole sentence.
pub(super) fn of(service: &ObjectKey, object: &Service) -> Option<Result<String, Problem>> {
    let spec = object.spec.as_ref().filter(|spec| spec.type_.as_deref() == Some("ExternalName"))?;
    let written = spec.external_name.as_deref().unwrap_or("");
    let name = written.strip_suffix('.').unwrap_or(written).to_ascii_lowercase();
    Some(check(&name).map(|()| name).map_err(|what| {
        let message = format!("externalName {written:?} of Service {service} {what}");
        Problem::new(reason::UNSUPPORTED_VALUE, message)
    }))
}

/// The error follows the name.
fn check(name: &str) -> Result<(), &'static str> {
    if name.parse::<IpAddr>().is_ok() {
        return Err("is an address: put it into an EndpointSlice of a Service without selector");
    }
    if name.starts_with('*') || check::hostname(name).is_err() {
        return Err("is no host name");
    }
    if OWN.iter().any(|own| is_below(name, own)) {
        return Err("is within the cluster: refer to the Service that it stands for");
    }
    Ok(())
}

/// The name itself, or one that ends in it.
fn is_below(name: &str, own: &str) -> bool {
    name.strip_suffix(own).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Any port of it can be named.
pub(super) fn lists_no_ports(object: &Service) -> bool {
    object.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_none_or(Vec::is_empty)
}

/// The port that is connected to.
pub(super) fn port(found: Option<&ServicePort>, asked: i32) -> Option<u32> {
    let target = found.and_then(|port| match &port.target_port {
        Some(IntOrString::Int(number)) if *number != 0 => Some(*number),
        _ => None,
    });
    let port = target.or(found.map(|port| port.port)).unwrap_or(asked);
    u16::try_from(port).ok().filter(|port| *port != 0).map(u32::from)
}

/// Whether a Gateway serves a name. The error is the end of a sentence about it.
pub(super) fn permits(config: Option<&ExternalNames>, name: &str) -> Result<(), &'static str> {
    let Some(config) = config.filter(|config| config.enabled) else {
        return Err("serves no ExternalNames: its GatewayConfig would have to set externalNames.enabled");
    };
    let is_listed = |host: &String| match host.strip_prefix("*.") {
        Some(own) => name != own && is_below(name, own),
        None => host == name,
    };
    if config.hosts.is_empty() || config.hosts.iter().any(is_listed) {
        return Ok(());
    }
    Err("does not serve it: it is none of the externalNames.hosts of its GatewayConfig")
}

/// Takes a backend out of a route, for a reason: its share of the requests gets 500.
pub(super) fn take_out(route: &mut v1::Route, service: &str, why: &str) {
    use v1::route::Action;
    match &mut route.action {
        Some(Action::Forward(forward)) => {
            for backend in forward.backends.iter_mut().filter(|backend| backend.service == service) {
                backend.service.clear();
                why.clone_into(&mut backend.broken);
            }
            forward.mirrors.retain(|mirror| mirror.service != service);
        }
        Some(Action::Aggregate(aggregate)) => {
            for part in aggregate.parts.iter_mut().filter(|part| part.service == service) {
                part.service.clear();
                why.clone_into(&mut part.broken);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_crds::ExternalNames;

    use super::{check, permits};

    #[test]
    fn names_of_the_gateway_and_the_cluster_are_refused() {
        for good in ["api.example.com", "db", "svc.example.com", "notlocalhost", "mysvc"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a..b",
            "*.example.com",
            "10.0.0.1",
            "::1",
            "localhost",
            "a.localhost",
            "kubernetes.default.svc",
            "db.shop.svc.cluster.local",
            "cluster.local",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_what_is_switched_on_and_listed_is_served() {
        let hosts = |hosts: &[&str]| ExternalNames {
            enabled: true,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..ExternalNames::default()
        };
        assert!(permits(None, "a.example.com").is_err());
        assert!(permits(Some(&ExternalNames::default()), "a.example.com").is_err());
        assert_eq!(permits(Some(&hosts(&[])), "a.example.com"), Ok(()));
        let some = hosts(&["a.example.com", "*.example.org"]);
        for (name, is_permitted) in [
            ("a.example.com", true),
            ("b.example.com", false),
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            ("badexample.org", false),
        ] {
            assert_eq!(permits(Some(&some), name).is_ok(), is_permitted, "{name}");
        }
    }
}
