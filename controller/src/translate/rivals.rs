//! HTTPRoutes and GRPCRoutes that would serve the same host of one listener: there only one of the two kinds is served, that
//! of the older route (GRPCRouteSpec.hostnames). Routes of other kinds are no part of this.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    attach::{self, Attached},
    conditions::{Problem, reason},
    gateway::GatewayView,
    input::{self, RouteInput},
    status::ObjectId,
};
use crate::resources::{ObjectKey, Resources};

#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// What the GRPCRoutes would serve. Without any, nothing is looked at.
    grpc: BTreeMap<ObjectKey, Vec<Claim>>,
    /// Routes that meet one of the other kind.
    meeting: BTreeSet<ObjectId>,
    /// By route, the listeners that serve another in its place.
    lost: BTreeMap<ObjectId, BTreeMap<Place, ObjectId>>,
}

/// A listener, by its index in its Gateway.
type Place = (ObjectKey, usize);

/// What a route would serve of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    created: i64,
    route: ObjectId,
    place: Place,
    hostnames: Vec<String>,
}

impl Rivals {
    pub(super) fn new(resources: &Resources, gateways: &BTreeMap<ObjectKey, GatewayView>) -> Self {
        let mut rivals = Rivals::default();
        let mut places: BTreeMap<Place, Vec<Claim>> = BTreeMap::new();
        for route in input::grpc_routes(resources) {
            let claims = claims(&route, gateways, resources);
            for claim in &claims {
                places.entry(claim.place.clone()).or_default().push(claim.clone());
            }
            if !claims.is_empty() {
                rivals.grpc.insert(route.key.clone(), claims);
            }
        }
        if rivals.grpc.is_empty() {
            return rivals;
        }
        for route in input::http_routes(resources) {
            for claim in claims(&route, gateways, resources) {
                if let Some(others) = places.get_mut(&claim.place) {
                    others.push(claim);
                }
            }
        }
        for claims in places.into_values() {
            rivals.settle(claims);
        }
        rivals
    }

    /// All the claims to one listener: from the oldest on, each is served unless it meets one that is.
    fn settle(&mut self, mut claims: Vec<Claim>) {
        claims.sort_by(|one, other| one.age().cmp(&other.age()));
        let (mut http, mut grpc): (Vec<Claim>, Vec<Claim>) = (Vec::new(), Vec::new());
        for claim in claims {
            let (same, others) = if claim.is_grpc() { (&mut grpc, &http) } else { (&mut http, &grpc) };
            match others.iter().find(|other| claim.meets(other)) {
                None => same.push(claim),
                Some(winner) => {
                    self.meeting.extend([claim.route.clone(), winner.route.clone()]);
                    self.lost.entry(claim.route).or_default().insert(claim.place, winner.route.clone());
                }
            }
        }
    }

    /// Takes out the listeners that serve another route in place of this one. The problem is of those that are left out
    /// where some are not; where all are, it is the error.
    pub(super) fn contest(
        &self,
        route: &RouteInput<'_>,
        gateway: &ObjectKey,
        mut attached: Attached,
    ) -> Result<(Attached, Option<Problem>), Problem> {
        if self.lost.is_empty() {
            return Ok((attached, None));
        }
        let Some(lost) = self.lost.get(&route.id()) else { return Ok((attached, None)) };
        let mut winners = BTreeSet::new();
        attached.retain(|listener, _| {
            let winner = lost.get(&(gateway.clone(), *listener));
            winners.extend(winner);
            winner.is_none()
        });
        let problem = Problem::join(winners.into_iter().map(|winner| {
            let message = format!(
                "the listener serves {} {}, which comes before it and has hostnames in common with it: give them \
                 different hostnames or listeners",
                winner.kind, winner.key
            );
            Problem::new(reason::CONFLICTED, message)
        }));
        match problem {
            Some(problem) if attached.is_empty() => Err(problem),
            problem => Ok((attached, problem)),
        }
    }

    /// Whether changes of these routes could change what others serve. If not, they are known from now on.
    pub(super) fn unsettled_by(
        &mut self,
        routes: &BTreeSet<ObjectId>,
        gateways: &BTreeMap<ObjectKey, GatewayView>,
        resources: &Resources,
    ) -> bool {
        routes.iter().any(|id| {
            let is_grpc = id.kind == "GRPCRoute";
            let has_rivals = is_grpc || (id.kind == "HTTPRoute" && !self.grpc.is_empty());
            if !has_rivals {
                return false;
            }
            let route = input::route(resources, id);
            let claims = route.map(|route| claims(&route, gateways, resources)).unwrap_or_default();
            if is_grpc {
                let known = self.grpc.get(&id.key).map_or(&[][..], Vec::as_slice);
                if known == claims {
                    return false;
                }
                if claims.is_empty() {
                    self.grpc.remove(&id.key);
                } else {
                    self.grpc.insert(id.key.clone(), claims);
                }
                return !resources.http_routes.is_empty();
            }
            let mut grpc = self.grpc.values().flatten();
            self.meeting.contains(id)
                || grpc.any(|other| claims.iter().any(|one| one.place == other.place && one.meets(other)))
        })
    }
}

impl Claim {
    fn is_grpc(&self) -> bool {
        self.route.kind == "GRPCRoute"
    }

    /// The smaller is served.
    fn age(&self) -> (i64, &ObjectKey, &str) {
        (self.created, &self.route.key, self.route.kind)
    }

    fn meets(&self, other: &Claim) -> bool {
        attach::have_in_common(&self.hostnames, &other.hostnames)
    }
}

fn claims(
    route: &RouteInput<'_>,
    gateways: &BTreeMap<ObjectKey, GatewayView>,
    resources: &Resources,
) -> Vec<Claim> {
    let mut claims: BTreeMap<Place, Vec<String>> = BTreeMap::new();
    for parent in route.parent_refs {
        let Some(key) = attach::gateway_of(parent, route.key, resources) else { continue };
        let Some(gateway) = gateways.get(&key) else { continue };
        let attached = attach::attach(route, parent, gateway, resources).unwrap_or_default();
        claims.extend(attached.into_iter().map(|(listener, hostnames)| ((key.clone(), listener), hostnames)));
    }
    let claims = claims.into_iter();
    claims
        .map(|(place, hostnames)| Claim { created: route.created, route: route.id(), place, hostnames })
        .collect()
}
