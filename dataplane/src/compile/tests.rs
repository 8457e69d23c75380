//! A state that was changed bit by bit serves what one would that got everything at once, and earlier snapshots serve on
//! as they did.

use std::{collections::BTreeMap, sync::Arc};

use gatehouse_proto::config::v1::{self, Resource, resource::Kind, route::Action};
use http::{HeaderMap, Method};
use proptest::{collection::vec, prelude::Strategy, prop_assert_eq, prop_oneof, proptest, sample::select};

use super::{Refused, State};
use crate::{
    observe::metrics::Metrics,
    route::Facts,
    snapshot::{Action as Does, Snapshot},
    test_authority::Authority,
    upstream::Tried,
};

fn state() -> State {
    State::new(Arc::new(Metrics::default()))
}

fn resource(name: &str, kind: Kind) -> Resource {
    Resource { name: name.into(), version: Vec::new(), kind: Some(kind) }
}

fn listener(name: &'static str, port: u32, https: bool, hostname: &str) -> Resource {
    let protocol = if https { v1::Protocol::Https } else { v1::Protocol::Http };
    let listener = v1::Listener {
        port,
        protocol: protocol.into(),
        hostname: hostname.into(),
        ..v1::Listener::default()
    };
    resource(name, Kind::Listener(listener))
}

fn service(name: &str, protocol: v1::UpstreamProtocol) -> Resource {
    resource(name, Kind::Service(v1::Service { protocol: protocol.into(), ..v1::Service::default() }))
}

/// With TLS, which can't be without authorities.
fn verified(name: &str, authority: Option<&Authority>) -> Resource {
    let roots = authority.into_iter().map(|authority| authority.der.clone()).collect();
    let tls = v1::UpstreamTls { server_name: "a.example.com".into(), roots, ..v1::UpstreamTls::default() };
    resource(name, Kind::Service(v1::Service { tls: Some(tls), ..v1::Service::default() }))
}

fn endpoints(port: u32) -> Resource {
    let endpoints = v1::Endpoints {
        service: "service/a".into(),
        endpoints: vec![v1::Endpoint { address: "127.0.0.1".into(), port, ..v1::Endpoint::default() }],
        ..v1::Endpoints::default()
    };
    resource("endpoints/a", Kind::Endpoints(endpoints))
}

/// Broken ones need no keys.
fn auth(broken: bool) -> Resource {
    let broken = if broken { "a reference is missing".into() } else { String::new() };
    resource("auth/a", Kind::Auth(v1::AuthConfig { broken, ..v1::AuthConfig::default() }))
}

fn limit(requests: u64) -> Resource {
    let limit = v1::Limit {
        name: "l".into(),
        requests,
        per_ms: 1000,
        algorithm: v1::Algorithm::TokenBucket.into(),
        ..v1::Limit::default()
    };
    let config = v1::RateLimit {
        limits: vec![limit],
        scope: v1::LimitScope::Policy.into(),
        store: v1::LimitStore::Local.into(),
        on_store_failure: v1::StoreFailure::FallbackLocal.into(),
        replicas: 1,
        ..v1::RateLimit::default()
    };
    resource("ratelimit/a", Kind::RateLimit(config))
}

fn path(kind: v1::PathKind, value: &str) -> v1::PathMatch {
    v1::PathMatch { kind: kind.into(), value: value.into() }
}

fn any_route() -> impl Strategy<Value = Resource> {
    let paths = select(vec![
        path(v1::PathKind::Prefix, "/"),
        path(v1::PathKind::Prefix, "/shop"),
        path(v1::PathKind::Exact, "/shop"),
        path(v1::PathKind::RegularExpression, "/sh[o]p/.*"),
        path(v1::PathKind::RegularExpression, "/[a-z]+"),
        path(v1::PathKind::RegularExpression, "/(unbalanced"),
    ]);
    let matches = vec((paths, select(vec!["", "GET"])), 0..3).prop_map(|matches| {
        let one = |(path, method): (v1::PathMatch, &str)| v1::Match {
            path: Some(path),
            method: method.into(),
            ..v1::Match::default()
        };
        matches.into_iter().map(one).collect()
    });
    let hosts = vec(select(vec!["a.example.com", "*.example.com", "b.example.com"]), 0..3);
    let listener = select(vec!["listener/http", "listener/https", "listener/late"]);
    let attachments = vec((listener, hosts), 0..3).prop_map(|attachments| {
        let one = |(listener, hosts): (&str, Vec<&str>)| v1::Attachment {
            listener: listener.into(),
            hostnames: hosts.into_iter().map(Into::into).collect(),
            one_label: false,
        };
        attachments.into_iter().map(one).collect()
    });
    let names = (vec(select(vec!["service/a", "service/b", ""]), 0..3), 0..2_usize, 0..2_usize);
    // Two names for one rule, too.
    (0..6_u32, select(vec!["route", "other"]), matches, attachments, names, 0..2_i64).prop_map(
        |(rule, prefix, matches, attachments, (services, auth, limits), created)| {
            let backend =
                |service: &str| v1::Backend { service: service.into(), weight: 1, ..v1::Backend::default() };
            let backends = services.into_iter().map(backend).collect();
            let route = v1::Route {
                object: "HTTPRoute/ns/r".into(),
                rule,
                created,
                attachments,
                matches,
                auth: vec!["auth/a".into(); auth],
                rate_limits: vec!["ratelimit/a".into(); limits],
                action: Some(Action::Forward(v1::Forward { backends, ..v1::Forward::default() })),
                ..v1::Route::default()
            };
            resource(&format!("{prefix}/HTTPRoute/ns/r/{rule}"), Kind::Route(route))
        },
    )
}

/// Something to put in, or the name of something to take out.
fn any_edit() -> impl Strategy<Value = Result<Resource, String>> {
    let others = || {
        select(vec![
            service("service/a", v1::UpstreamProtocol::Http1),
            service("service/a", v1::UpstreamProtocol::H2c),
            service("service/b", v1::UpstreamProtocol::Http1),
            verified("service/a", None),
            auth(true),
            auth(false),
            limit(1),
            limit(0),
            listener("listener/http", 80, false, ""),
            listener("listener/http", 80, false, "*.example.com"),
            listener("listener/https", 443, true, ""),
            listener("listener/https", 80, true, ""),
            listener("listener/late", 80, false, "a.example.com"),
            resource("consumer/ns/c", Kind::Consumer(v1::Consumer::default())),
            resource("consumer/odd", Kind::Consumer(v1::Consumer::default())),
        ])
    };
    prop_oneof![
        4 => any_route().prop_map(Ok),
        2 => others().prop_map(Ok),
        2 => any_route().prop_map(|resource| Err(resource.name)),
        1 => others().prop_map(|resource| Err(resource.name)),
    ]
}

/// What requests get, in words.
fn answers(snapshot: &Snapshot) -> Vec<String> {
    let mut answers = Vec::new();
    for (number, port) in &snapshot.ports {
        for host in ["a.example.com", "b.example.com", "c.example.com", "example.org"] {
            let Some(listener) = port.listeners.best(host) else { continue };
            for path in ["/", "/shop", "/shop/x", "/abc", "/abc/x"] {
                for method in [Method::GET, Method::POST] {
                    let facts =
                        Facts { host, path, method: &method, headers: &HeaderMap::new(), query: None };
                    let found = listener.routes.find(&facts).map(|found| {
                        let rule = found.target;
                        let Does::Forward(forward) = &rule.plan.action else { unreachable!() };
                        let services: Vec<_> =
                            rule.services.iter().flatten().map(|one| one.protocol).collect();
                        assert_eq!(forward.backends.len(), rule.services.len());
                        format!(
                            "{} {:?} {services:?} {:?} {:?}",
                            rule.plan.metrics.rule(),
                            found.prefix,
                            rule.auth().iter().map(Option::is_some).collect::<Vec<_>>(),
                            rule.limits()
                        )
                    });
                    answers.push(format!(
                        "{number} {:?} {} {host} {path} {method} {found:?}",
                        port.speaks, listener.name
                    ));
                }
            }
        }
    }
    answers
}

/// What is in force when these edits are made one batch at a time, kept as a list.
#[derive(Default)]
struct Model(BTreeMap<String, Resource>);

impl Model {
    fn note(&mut self, upserts: &[Resource], removals: &[String], refused: &[Refused]) {
        for name in removals {
            self.0.remove(name);
        }
        for resource in upserts {
            if !refused.iter().any(|refused| refused.name == resource.name) {
                self.0.insert(resource.name.clone(), resource.clone());
            } else if resource.name.starts_with("auth/") || resource.name.starts_with("service/") {
                self.0.remove(&resource.name);
            }
        }
    }
}

proptest! {
    #[test]
    fn bit_by_bit_is_as_all_at_once(batches in vec(vec(any_edit(), 1..5), 1..24)) {
        let (mut state, mut model) = (state(), Model::default());
        let mut earlier = Vec::new();
        for batch in batches {
            let (mut upserts, mut removals) = (BTreeMap::new(), Vec::new());
            for edit in batch {
                match edit {
                    Ok(resource) => {
                        upserts.insert(resource.name.clone(), resource);
                    }
                    Err(name) => removals.push(name),
                }
            }
            // A batch has a name once.
            removals.retain(|name| !upserts.contains_key(name));
            let upserts: Vec<Resource> = upserts.into_values().collect();
            let refused = state.apply(upserts.clone(), &removals).refused;
            model.note(&upserts, &removals, &refused);
            let (snapshot, unfit) = state.assemble();

            let mut fresh = self::state();
            prop_assert_eq!(fresh.apply(model.0.values().cloned(), &[]).refused, vec![]);
            let (whole, also_unfit) = fresh.assemble();
            let serves = answers(&snapshot);
            prop_assert_eq!(&serves, &answers(&whole));
            prop_assert_eq!(unfit, also_unfit);
            earlier.push((snapshot, serves));
        }
        for (snapshot, served) in earlier {
            prop_assert_eq!(answers(&snapshot), served);
        }
    }
}

#[test]
fn addresses_come_and_go_beside_their_service() {
    let mut state = state();
    let picks = |state: &State| {
        let picked =
            state.services.get("service/a").and_then(|service| service.pick(|| 0, None, &Tried::default()));
        picked.map(|endpoint| endpoint.address.port())
    };
    let removals = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    state.apply(vec![endpoints(1)], &[]);
    state.apply(vec![service("service/a", v1::UpstreamProtocol::Http1)], &[]);
    assert_eq!(picks(&state), Some(1), "addresses may come first");
    assert!(!state.apply(Vec::new(), &removals(&["endpoints/a"])).tables);
    assert_eq!(picks(&state), None);
    assert!(!state.apply(vec![endpoints(2)], &[]).tables);
    assert_eq!(picks(&state), Some(2), "they may come back");
    state.apply(Vec::new(), &removals(&["service/a"]));
    state.apply(vec![service("service/a", v1::UpstreamProtocol::H2c)], &[]);
    assert_eq!(picks(&state), Some(2), "and outlive their service");
    state.apply(Vec::new(), &removals(&["endpoints/a", "service/a"]));
    assert!(state.endpoints.is_empty(), "nothing is left behind");
    state.apply(vec![endpoints(3)], &removals(&[]));
    state.apply(Vec::new(), &removals(&["service/a", "endpoints/a"]));
    assert!(state.endpoints.is_empty());
}

#[test]
fn a_backend_is_never_spoken_to_on_older_terms() {
    let mut state = state();
    let serves = |state: &State| {
        let service = state.services.get("service/a")?;
        Some((service.tls.clone(), service.pick(|| 0, None, &Tried::default())?))
    };
    let plain = service("service/a", v1::UpstreamProtocol::Http1);
    state.apply(vec![plain.clone(), endpoints(1)], &[]);
    let (tls, in_clear) = serves(&state).unwrap();
    assert!(tls.is_none() && !in_clear.is_gone());

    let refused = state.apply(vec![verified("service/a", None)], &[]).refused;
    assert_eq!(refused.len(), 1);
    assert!(serves(&state).is_none(), "not even as before");

    let secure = verified("service/a", Some(&Authority::default()));
    state.apply(vec![secure.clone()], &[]);
    let (first, endpoint) = serves(&state).unwrap();
    assert!(in_clear.is_gone(), "connections of before are not used again");
    state.apply(vec![secure], &[]);
    let (second, same) = serves(&state).unwrap();
    assert!(
        Arc::ptr_eq(&first.unwrap(), &second.unwrap()) && Arc::ptr_eq(&endpoint, &same),
        "nothing changed"
    );
    state.apply(vec![plain], &[]);
    assert!(endpoint.is_gone());
}
