//! Where a route is served: its parents, their listeners, and the host names that both know.

use std::collections::BTreeMap;

use gatehouse_crds::{GATEWAY_GROUP, ParentRef};

use super::{
    conditions::{Problem, reason},
    gateway::GatewayView,
    input::RouteInput,
    listener_set,
};
use crate::resources::{ObjectKey, Resources};

/// The Gateway that a parent reference leads to, by itself or through a ListenerSet.
pub(super) fn gateway_of(parent: &ParentRef, route: &ObjectKey, resources: &Resources) -> Option<ObjectKey> {
    if let Some(key) = set_of(parent, route) {
        return listener_set::parent(&key, resources.listener_sets.get(&key)?);
    }
    named("Gateway", parent, route)
}

/// The ListenerSet that a parent reference names.
fn set_of(parent: &ParentRef, route: &ObjectKey) -> Option<ObjectKey> {
    named("ListenerSet", parent, route)
}

fn named(kind: &str, parent: &ParentRef, route: &ObjectKey) -> Option<ObjectKey> {
    let is_one = parent.group.as_deref().is_none_or(|group| group == GATEWAY_GROUP)
        && parent.kind.as_deref().unwrap_or("Gateway") == kind;
    let namespace = parent.namespace.as_deref().unwrap_or(&route.namespace);
    is_one.then(|| ObjectKey::new(namespace, &parent.name))
}

/// The host names under which a route is served, by the index of the listener.
pub(super) type Attached = BTreeMap<usize, Vec<String>>;

/// The listeners that the route attaches to by one parent reference.
pub(super) fn attach(
    route: &RouteInput<'_>,
    parent: &ParentRef,
    gateway: &GatewayView,
    resources: &Resources,
) -> Result<Attached, Problem> {
    if let Some(known) = route.listeners {
        return Ok(known.iter().map(|index| (*index, Vec::new())).collect());
    }
    let (holder, listeners) = match set_of(parent, route.key) {
        None => (format!("Gateway {}", gateway.key), gateway.own_listeners()),
        Some(set) => (format!("ListenerSet {set}"), gateway.listeners_of(&set)?),
    };
    let named: Vec<usize> = listeners
        .filter(|index| {
            let listener = &gateway.listeners[*index];
            parent.section_name.as_ref().is_none_or(|section| *section == listener.spec.name)
                && parent.port.is_none_or(|port| port == listener.spec.port)
        })
        .collect();
    if named.is_empty() {
        let message = format!("{holder} has no listener of this sectionName and port");
        return Err(Problem::new(reason::NO_MATCHING_PARENT, message));
    }
    let allowed: Vec<usize> = named
        .into_iter()
        .filter(|index| {
            gateway.listeners[*index].allows(route.kind, &route.key.namespace, &gateway.key, resources)
        })
        .collect();
    if allowed.is_empty() {
        let message = format!(
            "no listener of {holder} lets a {} of namespace {} attach (allowedRoutes)",
            route.kind, route.key.namespace
        );
        return Err(Problem::new(reason::NOT_ALLOWED_BY_LISTENERS, message));
    }
    let mut attached: Attached = allowed
        .into_iter()
        .filter_map(|index| Some((index, intersection(&gateway.listeners[index].hostname, route.hostnames)?)))
        .collect();
    if attached.is_empty() {
        let message = format!("no listener of {holder} serves any of the hostnames");
        return Err(Problem::new(reason::NO_MATCHING_LISTENER_HOSTNAME, message));
    }
    attached.retain(|index, _| gateway.listeners[*index].is_accepted());
    if attached.is_empty() {
        let message = format!("no listener of {holder} that would take this route is itself accepted");
        return Err(Problem::new(reason::NO_MATCHING_PARENT, message));
    }
    Ok(attached)
}

/// The names under which a route is served by a listener; `None` if they have none in common. Empty: any.
fn intersection(listener: &str, route: &[String]) -> Option<Vec<String>> {
    if route.is_empty() {
        return Some(if listener.is_empty() { Vec::new() } else { vec![listener.to_owned()] });
    }
    let mut common: Vec<String> = Vec::new();
    let names = route.iter().map(|hostname| hostname.to_ascii_lowercase()).filter_map(|hostname| {
        if covers(listener, &hostname) {
            Some(hostname)
        } else if covers(&hostname, listener) {
            Some(listener.to_owned())
        } else {
            None
        }
    });
    for name in names {
        if !common.contains(&name) {
            common.push(name);
        }
    }
    (!common.is_empty()).then_some(common)
}

/// Some host is one of both. Empty: any.
pub(super) fn have_in_common(some: &[String], others: &[String]) -> bool {
    some.is_empty()
        || others.is_empty()
        || some.iter().any(|one| others.iter().any(|other| covers(one, other) || covers(other, one)))
}

/// Every host that `narrow` stands for is one that `wide` stands for.
fn covers(wide: &str, narrow: &str) -> bool {
    match wide.strip_prefix("*.") {
        _ if wide.is_empty() => true,
        None => wide == narrow,
        Some(suffix) => {
            let name = narrow.strip_prefix("*.").unwrap_or(narrow);
            let is_wildcard = name.len() < narrow.len();
            (is_wildcard && name == suffix)
                || name.strip_suffix(suffix).is_some_and(|label| label.len() > 1 && label.ends_with('.'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::intersection;

    #[test]
    fn hostnames_in_common() {
        let common = |listener: &str, route: &[&str]| {
            let route: Vec<String> = route.iter().map(|hostname| (*hostname).to_owned()).collect();
            intersection(listener, &route)
        };
        assert_eq!(common("", &[]), Some(vec![]));
        assert_eq!(common("a.b", &[]), Some(vec!["a.b".into()]));
        assert_eq!(common("", &["A.b"]), Some(vec!["a.b".into()]));
        assert_eq!(common("*.b", &["a.b", "x.y"]), Some(vec!["a.b".into()]));
        assert_eq!(common("a.b", &["*.b"]), Some(vec!["a.b".into()]));
        assert_eq!(common("*.b", &["*.a.b"]), Some(vec!["*.a.b".into()]));
        assert_eq!(common("*.a.b", &["*.b"]), Some(vec!["*.a.b".into()]));
        assert_eq!(common("*.b", &["*.b"]), Some(vec!["*.b".into()]));
        assert_eq!(common("a.b", &["*.b", "A.B", "a.b"]), Some(vec!["a.b".into()]));
        assert_eq!(common("*.b", &["b"]), None);
        assert_eq!(common("*.b", &["xb"]), None);
        assert_eq!(common("a.b", &["c.b"]), None);
    }
}
