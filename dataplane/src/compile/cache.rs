//! Which answers a rule keeps.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use gatehouse_proto::config::v1::{self, route::Action};
use prost::Message;

use crate::snapshot::Cache;

/// Seconds; some hundred years.
const LONGEST: u64 = 1 << 32;

pub(super) fn compile(route: &v1::Route) -> Result<Option<Box<Cache>>, String> {
    let (Some(wire), Some(Action::Forward(forward))) = (&route.cache, &route.action) else { return Ok(None) };
    if forward.rollout.is_some() {
        return Err("cache: an answer of one version would be given for the other".into());
    }
    Ok(Some(Box::new(Cache {
        name: name(route, wire, forward),
        max_body: usize::try_from(wire.max_body_bytes).unwrap_or(usize::MAX),
        shared: wire.shared,
        stale_while_revalidate: Duration::from_millis(wire.stale_while_revalidate_ms.min(LONGEST * 1000)),
    })))
}

/// A hash of all that decides which requests the backends get, and which backends: not of weights, copies, retries and
/// timeouts, nor of what becomes of the answers, which is done anew each time.
fn name(route: &v1::Route, wire: &v1::Cache, forward: &v1::Forward) -> Box<[u8]> {
    let backends = forward.backends.iter().map(|backend| v1::Backend {
        service: backend.service.clone(),
        request_headers: backend.request_headers.clone(),
        ..v1::Backend::default()
    });
    let essence = v1::Route {
        object: route.object.clone(),
        // A name stays when the rule moves.
        rule: if route.rule_name.is_empty() { route.rule } else { 0 },
        rule_name: route.rule_name.clone(),
        matches: route.matches.clone(),
        auth: route.auth.clone(),
        request_headers: route.request_headers.clone(),
        // What is kept for one is not for all.
        cache: Some(v1::Cache { shared: wire.shared, ..v1::Cache::default() }),
        action: Some(Action::Forward(v1::Forward {
            backends: backends.collect(),
            rewrite: forward.rewrite.clone(),
            failover: forward.failover.clone(),
            ..v1::Forward::default()
        })),
        ..v1::Route::default()
    };
    digest(&SHA256, &essence.encode_to_vec()).as_ref().into()
}

#[cfg(test)]
mod tests {
    use super::{Action, compile, v1};

    fn rule(change: impl FnOnce(&mut v1::Route, &mut v1::Forward)) -> Box<[u8]> {
        let backend =
            |service: &str| v1::Backend { service: service.into(), weight: 1, ..v1::Backend::default() };
        let mut forward = v1::Forward {
            backends: vec![backend("service/a"), backend("service/b")],
            ..v1::Forward::default()
        };
        let cache = v1::Cache { max_body_bytes: 10, ..v1::Cache::default() };
        let mut route =
            v1::Route { object: "GatewayRoute/ns/r".into(), cache: Some(cache), ..v1::Route::default() };
        change(&mut route, &mut forward);
        route.action = Some(Action::Forward(forward));
        compile(&route).unwrap().unwrap().name
    }

    #[test]
    fn answers_outlive_what_does_not_change_them() {
        let before = rule(|_, _| ());
        let set = || Some(v1::HeaderChanges { remove: vec!["x".into()], ..v1::HeaderChanges::default() });
        for same in [
            rule(|route, _| route.response_headers = set()),
            rule(|route, _| route.timeouts = Some(v1::Timeouts { request_ms: 7, ..v1::Timeouts::default() })),
            rule(|route, _| route.rate_limits.push("ratelimit/ns/l".into())),
            rule(|_, forward| forward.backends[0].weight = 9),
            rule(|_, forward| forward.mirrors.push(v1::Mirror::default())),
        ] {
            assert_eq!(same, before);
        }
        for other in [
            rule(|route, _| route.object = "GatewayRoute/ns/s".into()),
            rule(|route, _| route.rule = 1),
            rule(|route, _| route.rule_name = "n".into()),
            rule(|route, _| route.matches.push(v1::Match::default())),
            rule(|route, _| route.auth.push("auth/ns/a".into())),
            rule(|route, _| route.request_headers = set()),
            rule(|route, _| route.cache.as_mut().unwrap().shared = true),
            rule(|_, forward| forward.backends[0].service = "service/c".into()),
            rule(|_, forward| forward.backends.swap(0, 1)),
            rule(|_, forward| forward.failover.push("service/c".into())),
            rule(|_, forward| {
                forward.rewrite = Some(v1::Rewrite { hostname: "h".into(), ..v1::Rewrite::default() });
            }),
        ] {
            assert_ne!(other, before);
        }
        let moved = |index| rule(move |route, _| (route.rule, route.rule_name) = (index, "n".into()));
        assert_eq!(moved(0), moved(3));
    }
}
