//! From wire resources to a [`Snapshot`].
//!
//! [`State::apply`] compiles each changed resource by itself: one that can't be used is refused with a sentence, what was
//! there under its name stays in force (an AuthConfig closes what it guards, a Service all that leads to it), and all
//! others go on.
//! [`State::assemble`] joins the parts into the tables that requests are matched against. Neither does I/O.
//!
//! A snapshot shares with the one before what did not change. A route costs what it touches, and so does whatever routes
//! refer to. A listener or certificate rebuilds what the ports serve, but no table; a consumer, the index of consumers.

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
    observe::metrics::Metrics,
    route::{Entry, Hostname},
    siblings::Identity,
    snapshot::{Rule, Settings, Snapshot},
    upstream::{EndpointCell, OwnCertificate, Protocol, Service, Tls},
};
use {route::Known, routes::Routes};

/// Every resource in force, compiled. Keys are resource names.
#[derive(Debug)]
pub(crate) struct State {
    metrics: Arc<Metrics>,
    settings: Settings,
    listeners: BTreeMap<String, listener::Part>,
    certificates: BTreeMap<String, Arc<CertifiedKey>>,
    routes: Routes,
    services: BTreeMap<String, Arc<Service>>,
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
    consumers: BTreeMap<String, v1::Consumer>,
    siblings: Option<Arc<Identity>>,
    assembled: Assembled,
    /// What is assembled and does not hold any more.
    stale: Stale,
}

/// What the last snapshot was made of.
#[derive(Debug, Default)]
struct Assembled {
    ports: ports::Built,
    consumers: Arc<auth::Consumers>,
    unfit_consumers: Vec<Refused>,
}

#[derive(Debug, Default)]
struct Stale {
    /// A listener or a certificate changed.
    ports: bool,
    consumers: bool,
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
            settings: Settings::default(),
            listeners: BTreeMap::new(),
            certificates: BTreeMap::new(),
            routes: Routes::default(),
            services: BTreeMap::new(),
            service_tls: BTreeMap::new(),
            own_certificate: OwnCertificate::default(),
            own_certificate_name: String::new(),
            endpoints: HashMap::new(),
            auth: BTreeMap::new(),
            limits: BTreeMap::new(),
            consumers: BTreeMap::new(),
            siblings: None,
            assembled: Assembled::default(),
            stale: Stale::default(),
        }
    }

    /// What siblings are served by.
    pub(crate) fn siblings(&self) -> Option<Arc<Identity>> {
        self.siblings.clone()
    }

    pub(crate) fn apply(&mut self, upserts: Vec<v1::Resource>, removals: &[String]) -> Applied {
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
                self.settings = settings::compile(&settings)?;
                self.own_certificate_name = settings.backend_certificate;
            }
            Kind::Listener(listener) => {
                self.listeners.insert(key(), listener::Part::compile(name, &listener)?);
                self.stale.ports = true;
            }
            Kind::Route(route) => self.routes.upsert(name, &route, &self.metrics)?,
            Kind::Service(service) => {
                let before = self.services.remove(name);
                // What was there must not serve on if the new one is refused: it may be less strict, or in clear text.
                self.routes.changed(name);
                let service = self.service(name, service, before.as_deref())?;
                self.services.insert(key(), service);
            }
            Kind::Endpoints(endpoints) => {
                let addresses = addresses(&endpoints)?;
                self.cell(&endpoints.service).replace(addresses);
            }
            Kind::Certificate(certificate) => {
                self.certificates.insert(key(), certificate::compile(&certificate)?);
                self.stale.ports = true;
            }
            Kind::Auth(config) => {
                // Keys that were taken back must not live on in the policy that was there before: without one, what it
                // guards is closed.
                self.auth.remove(name);
                self.routes.changed(name);
                let policy = auth::Policy::compile(&config).map_err(|invalid| invalid.to_string())?;
                self.auth.insert(key(), Arc::new(policy));
            }
            Kind::RateLimit(config) => {
                let policy = limit::Policy::compile(name, &config).map_err(|invalid| invalid.to_string())?;
                self.limits.insert(key(), Arc::new(policy));
                self.routes.changed(name);
            }
            Kind::Consumer(consumer) => {
                self.consumers.insert(key(), consumer);
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
                cell.replace(Vec::new());
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
            self.own_certificate_name.clear();
        }
        if self.routes.remove(name) {
            return true;
        }
        self.stale.ports |= self.listeners.remove(name).is_some() | self.certificates.remove(name).is_some();
        self.stale.consumers |= self.consumers.remove(name).is_some();
        let referred = [
            self.services.remove(name).is_some(),
            self.auth.remove(name).is_some(),
            self.limits.remove(name).is_some(),
        ];
        if referred.contains(&true) {
            self.routes.changed(name);
            self.forget_cell(name);
        }
        true
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
        let label = name.strip_prefix("service/").unwrap_or(name).into();
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
        if changed {
            let renewed = self.cell(name).renewed();
            self.endpoints.insert(name.to_owned(), Arc::new(renewed));
        }
        Ok(Arc::new(Service { label, protocol, tls, endpoints: self.cell(name) }))
    }

    fn cell(&mut self, service: &str) -> Arc<EndpointCell> {
        Arc::clone(self.endpoints.entry(service.to_owned()).or_default())
    }

    /// The tables of all parts in force, and what had to be refused because of how the parts fit together.
    pub(crate) fn assemble(&mut self) -> (Snapshot, Vec<Refused>) {
        self.own_certificate.replace(self.certificates.get(&self.own_certificate_name).cloned());
        let known = Known { auth: &self.auth, limits: &self.limits, services: &self.services };
        let touched = self.routes.settle(known);
        let Stale { ports, consumers } = std::mem::take(&mut self.stale);
        let assembled = &mut self.assembled;
        if ports {
            assembled.ports = ports::build(&self.listeners, &self.certificates, &self.routes);
        } else {
            ports::update(&mut assembled.ports, &touched, &self.listeners, &self.routes);
        }
        if consumers {
            let all = self.consumers.iter().map(|(name, consumer)| (name.as_str(), consumer));
            let (consumers, unfit) = auth::Consumers::compile(all);
            assembled.consumers = Arc::new(consumers);
            assembled.unfit_consumers =
                unfit.into_iter().map(|(name, reason)| Refused { name, reason }).collect();
        }
        let snapshot = Snapshot {
            settings: self.settings.clone(),
            ports: assembled.ports.ports.clone(),
            datagrams: assembled.ports.datagrams.clone(),
            consumers: Arc::clone(&assembled.consumers),
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
    route::Part::compile(name, wire, metrics, &Routes::default())
}

fn addresses(endpoints: &v1::Endpoints) -> Result<Vec<SocketAddr>, String> {
    endpoints
        .endpoints
        .iter()
        .map(|endpoint| {
            let address =
                endpoint.address.parse().map_err(|_| format!("{:?} is no IP address", endpoint.address))?;
            let port =
                u16::try_from(endpoint.port).map_err(|_| format!("port {} is above 65535", endpoint.port))?;
            Ok(SocketAddr::new(address, port))
        })
        .collect()
}
