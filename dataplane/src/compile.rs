//! From wire resources to a [`Snapshot`].
//!
//! [`State::apply`] compiles each changed resource by itself: one that can't be used is refused with a sentence, what was
//! there under its name stays in force (an AuthConfig closes what it guards, a Service all that leads to it), and all
//! others go on.
//! [`State::assemble`] joins the parts into the tables that requests are matched against. Neither does I/O.
//!
//! A snapshot shares with the one before what did not change. A route costs what it touches, and so does whatever routes
//! refer to. A listener or certificate rebuilds what the ports serve, but no table; a consumer, the index of consumers.

mod aggregate;
mod cache;
pub(crate) mod certificate;
mod listener;
mod ports;
mod route;
mod routes;
mod settings;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use gatehouse_proto::config::v1::{self, resource::Kind};
use hashbrown::HashMap;
use rustls::sign::CertifiedKey;

use crate::{
    auth, limit,
    listen::ListenPort,
    names::{self, Named},
    observe::metrics::Metrics,
    route::{Entry, Hostname},
    siblings::Identity,
    snapshot::{Rule, Settings, Snapshot},
    upstream::{EndpointCell, OwnCertificate, Place, Protocol, Service, Tls, Traffic},
};
use {
    route::{Common, Known},
    routes::Routes,
};

/// Every resource in force, compiled. Keys are resource names.
#[derive(Debug)]
pub(crate) struct State {
    metrics: Arc<Metrics>,
    /// That this dataplane is in.
    zone: Option<String>,
    settings: Settings,
    /// How names are looked up.
    looking_up: names::Options,
    listeners: BTreeMap<String, listener::Part>,
    certificates: BTreeMap<String, Arc<CertifiedKey>>,
    routes: Routes,
    common: Common,
    services: BTreeMap<String, Arc<Service>>,
    /// Those whose endpoints are watched.
    watched: Arc<BTreeMap<String, Arc<Service>>>,
    /// Those that are names, by the names of their resources.
    named: BTreeMap<String, Named>,
    /// What the connections to the endpoints of a cell are made by, as it came. Absent: clear text.
    service_tls: BTreeMap<String, v1::UpstreamTls>,
    /// What backends are shown.
    own_certificate: OwnCertificate,
    /// Its name; empty: none.
    own_certificate_name: String,
    /// By the name of the service. A cell outlives its service, so that the two may come in any order.
    endpoints: HashMap<String, Arc<EndpointCell>>,
    auth: BTreeMap<String, Arc<auth::Policy>>,
    limits: BTreeMap<String, Arc<limit::Policy>>,
    consumers: auth::Register,
    siblings: Option<Arc<Identity>>,
    assembled: Assembled,
    /// What is assembled and does not hold any more.
    stale: Stale,
}

/// Policies that may come to know more keys, by name.
pub(crate) type Keyed = HashMap<Box<str>, Arc<auth::Policy>>;

/// Backends that say whether requests may pass, by name.
pub(crate) type Asked = HashMap<Box<str>, Arc<Service>>;

/// Of their names.
const ASKED: &str = "/auth";

/// What the last snapshot was made of.
#[derive(Debug, Default)]
struct Assembled {
    ports: ports::Built,
    consumers: Arc<auth::Consumers>,
    keyed: Arc<Keyed>,
    asked: Arc<Asked>,
    unfit_consumers: Vec<Refused>,
}

#[derive(Debug, Default)]
struct Stale {
    /// A listener or a certificate changed.
    ports: bool,
    consumers: bool,
    /// An AuthConfig changed.
    keyed: bool,
    /// A backend that says whether requests may pass.
    asked: bool,
}

/// A resource that was refused, and why, in a sentence for the user whose object it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub name: String,
    pub reason: String,
}

/// What [`State::apply`] did.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) refused: Vec<Refused>,
    /// Something besides endpoints changed: the tables must be assembled anew.
    pub(crate) tables: bool,
    /// The settings as they came, where they came.
    pub(crate) settings: Option<v1::Settings>,
}

impl State {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        State {
            metrics,
            zone: None,
            settings: Settings::default(),
            looking_up: names::Options::default(),
            listeners: BTreeMap::new(),
            certificates: BTreeMap::new(),
            routes: Routes::default(),
            common: Common::default(),
            services: BTreeMap::new(),
            watched: Arc::default(),
            named: BTreeMap::new(),
            service_tls: BTreeMap::new(),
            own_certificate: OwnCertificate::default(),
            own_certificate_name: String::new(),
            endpoints: HashMap::new(),
            auth: BTreeMap::new(),
            limits: BTreeMap::new(),
            consumers: auth::Register::default(),
            siblings: None,
            assembled: Assembled::default(),
            stale: Stale::default(),
        }
    }

    /// Endpoints of this zone are near.
    pub(crate) fn in_zone(self, zone: Option<String>) -> Self {
        State { zone, ..self }
    }

    /// What siblings are served by.
    pub(crate) fn siblings(&self) -> Option<Arc<Identity>> {
        self.siblings.clone()
    }

    /// Backends that are names, and how these are looked up.
    pub(crate) fn named(&self) -> (&BTreeMap<String, Named>, &names::Options) {
        (&self.named, &self.looking_up)
    }

    pub(crate) fn apply(
        &mut self,
        upserts: impl IntoIterator<Item = v1::Resource>,
        removals: &[String],
    ) -> Applied {
        let mut applied = Applied::default();
        for name in removals {
            applied.tables |= self.remove(name);
        }
        for resource in upserts {
            let Some(kind) = resource.kind else { continue };
            if let Kind::Settings(settings) = &kind {
                applied.settings = Some(settings.clone());
            }
            applied.tables |= !matches!(kind, Kind::Endpoints(_) | Kind::Siblings(_));
            if let Err(reason) = self.upsert(&resource.name, kind) {
                applied.refused.push(Refused { name: resource.name, reason });
            }
        }
        applied
    }

    fn upsert(&mut self, name: &str, kind: Kind) -> Result<(), String> {
        let key = || name.to_owned();
        match kind {
            Kind::Settings(settings) => {
                let looking_up = names::Options::compile(settings.names.as_ref())?;
                self.settings = settings::compile(&settings)?;
                self.looking_up = looking_up;
                self.own_certificate_name = settings.backend_certificate;
            }
            Kind::Listener(listener) => {
                self.listeners.insert(key(), listener::Part::compile(name, &listener)?);
                self.stale.ports = true;
            }
            Kind::Route(route) => self.routes.upsert(name, &route, &self.metrics, &mut self.common)?,
            Kind::Service(service) => {
                self.stale.asked |= name.ends_with(ASKED);
                let before = self.services.remove(name);
                self.unwatch(name);
                self.named.remove(name);
                // What was there must not serve on if the new one is refused: it may be less strict, or in clear text.
                self.routes.changed(name);
                let service = self.service(name, service, before.as_deref())?;
                if service.is_watched() {
                    Arc::make_mut(&mut self.watched).insert(key(), Arc::clone(&service));
                }
                self.services.insert(key(), service);
            }
            Kind::Endpoints(endpoints) => {
                let places = places(&endpoints, self.zone.as_deref())?;
                self.cell(&endpoints.service).replace(places, endpoints.prefer_zone);
            }
            Kind::Certificate(certificate) => {
                self.certificates.insert(key(), certificate::compile(&certificate)?);
                self.stale.ports = true;
            }
            Kind::Auth(config) => {
                // Keys that were taken back must not live on in the policy that was there before: without one, what it
                // guards is closed.
                self.stale.keyed |= self.auth.remove(name).is_some();
                self.routes.changed(name);
                let policy = auth::Policy::compile(&config).map_err(|invalid| invalid.to_string())?;
                self.auth.insert(key(), Arc::new(policy.named(name)));
                self.stale.keyed = true;
            }
            Kind::RateLimit(config) => {
                let policy = limit::Policy::compile(name, &config, &self.metrics)
                    .map_err(|invalid| invalid.to_string())?;
                let response = config.response.as_ref().map(route::respond).transpose()?;
                self.limits.insert(key(), Arc::new(policy.answering(response)));
                self.routes.changed(name);
            }
            Kind::Consumer(consumer) => {
                self.consumers.put(name, &consumer);
                self.stale.consumers = true;
            }
            Kind::Siblings(siblings) => {
                let certificate =
                    siblings.certificate.as_ref().ok_or("siblings.certificate: it is missing")?;
                let identity = Identity::compile(&siblings, certificate::compile(certificate)?)?;
                self.siblings = Some(Arc::new(identity));
            }
        }
        Ok(())
    }

    /// `true` if tables depend on it.
    fn remove(&mut self, name: &str) -> bool {
        if let Some(service) = name.strip_prefix("endpoints/") {
            let service = format!("service/{service}");
            if let Some(cell) = self.endpoints.get(&service) {
                cell.replace(Vec::new(), false);
                self.forget_cell(&service);
            }
            return false;
        }
        if name == "siblings" {
            self.siblings = None;
            return false;
        }
        if name == "settings" {
            self.settings = Settings::default();
            self.looking_up = names::Options::default();
            self.own_certificate_name.clear();
        }
        if self.routes.remove(name) {
            return true;
        }
        self.stale.ports |= self.listeners.remove(name).is_some() | self.certificates.remove(name).is_some();
        self.stale.consumers |= self.consumers.remove(name);
        self.unwatch(name);
        self.named.remove(name);
        self.stale.keyed |= self.auth.contains_key(name);
        self.stale.asked |= name.ends_with(ASKED);
        let referred = [
            self.services.remove(name).is_some(),
            self.auth.remove(name).is_some(),
            self.limits.remove(name).is_some(),
        ];
        if referred.contains(&true) {
            self.routes.changed(name);
            self.forget_cell(name);
            self.endpoints.remove(&cell_of_name(name));
        }
        true
    }

    fn unwatch(&mut self, service: &str) {
        if self.watched.contains_key(service) {
            Arc::make_mut(&mut self.watched).remove(service);
        }
    }

    /// Drops the cell of a service if that is gone, and its addresses too.
    fn forget_cell(&mut self, service: &str) {
        if !self.services.contains_key(service)
            && self.endpoints.get(service).is_some_and(|cell| cell.is_empty())
        {
            self.endpoints.remove(service);
            self.service_tls.remove(service);
        }
    }

    /// Sessions of `before` go on where nothing about TLS changes.
    fn service(
        &mut self,
        name: &str,
        service: v1::Service,
        before: Option<&Service>,
    ) -> Result<Arc<Service>, String> {
        let protocol = match service.protocol() {
            v1::UpstreamProtocol::H2c => Protocol::H2c,
            v1::UpstreamProtocol::Http1 | v1::UpstreamProtocol::Unspecified => Protocol::Http1,
        };
        let traffic = Traffic::compile(&service)?;
        let label: Arc<str> = name.strip_prefix("service/").unwrap_or(name).into();
        let changed = service.tls.as_ref() != self.service_tls.get(name);
        let kept = before.filter(|before| !changed && before.protocol == protocol);
        let tls = match (&service.tls, kept) {
            (None, _) => None,
            (Some(_), Some(before)) => before.tls.clone(),
            (Some(tls), None) => Some(Arc::new(Tls::compile(tls, protocol, &self.own_certificate)?)),
        };
        match service.tls {
            Some(tls) => self.service_tls.insert(name.to_owned(), tls),
            None => self.service_tls.remove(name),
        };
        // What DNS says and what the controller says of the same Service never meet.
        let of_name = cell_of_name(name);
        let cell = if service.dns.is_some() { &of_name } else { name };
        if changed {
            let renewed = self.cell(cell).renewed();
            self.endpoints.insert(cell.to_owned(), Arc::new(renewed));
        }
        let endpoints = self.cell(cell);
        match &service.dns {
            Some(dns) => {
                let named = Named::new(Arc::clone(&label), dns, Arc::clone(&endpoints))?;
                self.named.insert(name.to_owned(), named);
            }
            None => drop(self.endpoints.remove(&of_name)),
        }
        Ok(Arc::new(Service { label, protocol, tls, endpoints, traffic }))
    }

    fn cell(&mut self, service: &str) -> Arc<EndpointCell> {
        Arc::clone(self.endpoints.entry(service.to_owned()).or_default())
    }

    /// The tables of all parts in force, and what had to be refused because of how the parts fit together.
    pub(crate) fn assemble(&mut self) -> (Snapshot, Vec<Refused>) {
        self.own_certificate.replace(self.certificates.get(&self.own_certificate_name).cloned());
        let known = Known { auth: &self.auth, limits: &self.limits, services: &self.services };
        let touched = self.routes.settle(known);
        let Stale { ports, consumers, keyed, asked } = std::mem::take(&mut self.stale);
        let assembled = &mut self.assembled;
        if ports {
            assembled.ports = ports::build(&self.listeners, &self.certificates, &self.routes);
        } else {
            ports::update(&mut assembled.ports, &touched, &self.listeners, &self.routes);
        }
        if consumers {
            let (consumers, unfit) = self.consumers.index();
            assembled.consumers = Arc::new(consumers);
            assembled.unfit_consumers =
                unfit.into_iter().map(|(name, reason)| Refused { name, reason }).collect();
        }
        if keyed {
            let keyed = self.auth.values().filter(|policy| policy.has_jwks());
            let keyed = keyed.map(|policy| (policy.name().into(), Arc::clone(policy)));
            assembled.keyed = Arc::new(keyed.collect());
        }
        if asked {
            let asked = self.services.iter().filter(|(name, _)| name.ends_with(ASKED));
            let asked = asked.map(|(name, service)| (name.as_str().into(), Arc::clone(service)));
            assembled.asked = Arc::new(asked.collect());
        }
        let snapshot = Snapshot {
            settings: self.settings.clone(),
            ports: assembled.ports.ports.clone(),
            datagrams: assembled.ports.datagrams.clone(),
            consumers: Arc::clone(&assembled.consumers),
            watched: Arc::clone(&self.watched),
            keyed: Arc::clone(&assembled.keyed),
            asked: Arc::clone(&assembled.asked),
        };
        (snapshot, [&*assembled.unfit_consumers, &*assembled.ports.refused].concat())
    }

    /// Every rule in force, once for each listener, with its names there.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&str, &Entry<Rule>, &[Hostname])> {
        self.routes.parts().flat_map(|part| {
            let attachments = part.attachments.iter();
            attachments.map(|attachment| (&*attachment.listener, &*part.entry, &*attachment.hostnames))
        })
    }

    /// The listeners of ports, each refused with the text of its port.
    pub(crate) fn listeners_of(&self, ports: &BTreeMap<ListenPort, String>) -> Vec<Refused> {
        if ports.is_empty() {
            return Vec::new();
        }
        let listeners = self.listeners.iter();
        listeners
            .filter_map(|(name, part)| {
                Some(Refused { name: name.clone(), reason: ports.get(&part.listen_port())?.clone() })
            })
            .collect()
    }
}

/// Compiles a route by itself.
#[cfg(feature = "bench")]
pub(crate) fn route_alone(name: &str, wire: &v1::Route, metrics: &Metrics) -> Result<impl Sized, String> {
    route::Part::compile(name, wire, metrics, &Routes::default(), &mut Common::default())
}

/// Where the addresses are of a backend that is a name.
fn cell_of_name(service: &str) -> String {
    format!("name/{service}")
}

fn places(endpoints: &v1::Endpoints, zone: Option<&str>) -> Result<Vec<Place>, String> {
    endpoints
        .endpoints
        .iter()
        .map(|endpoint| {
            let address =
                endpoint.address.parse().map_err(|_| format!("{:?} is no IP address", endpoint.address))?;
            let port =
                u16::try_from(endpoint.port).map_err(|_| format!("port {} is above 65535", endpoint.port))?;
            let is_near = zone.is_some_and(|zone| endpoint.zones.iter().any(|one| one == zone));
            Ok(Place { address: SocketAddr::new(address, port), is_near })
        })
        .collect()
}
