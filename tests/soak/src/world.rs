//! Everything that runs: the cluster, its dataplanes, Services, routes and certificate; and how it changes.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use gatehouse_tests::{
    certs::{Authority, Pair},
    client, eventually, install_crypto,
    pretended::{self, Cluster, Store},
    process::Process,
};
use serde_json::json;

use crate::{
    balancer::Balancer,
    dataplanes::Dataplanes,
    ledger::Ledger,
    load,
    plan::Plan,
    request::host,
    routes::{EDIT, Routes},
    services::Services,
};

pub(crate) const NAMESPACE: &str = "shop";
/// `namespace/name`.
pub(crate) const GATEWAY: &str = "shop/edge";
/// What clients ask for by SNI.
pub(crate) const NAME: &str = "shop.example";

/// Of every dataplane's listeners.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) https: u16,
}

pub(crate) struct World {
    cluster: Arc<Cluster>,
    controller: Process,
    certificates: Certificates,
    services: Services,
    routes: Routes,
    dataplanes: Dataplanes,
    balancer: Arc<Balancer>,
    ledger: Arc<Ledger>,
    ports: Ports,
}

struct Certificates {
    store: Arc<Store>,
    authority: Authority,
    newest: Pair,
}

impl World {
    /// Served by every dataplane.
    pub(crate) async fn start(ledger: Arc<Ledger>, binaries: &Path, logs: &Path) -> io::Result<World> {
        install_crypto();
        let cluster = Arc::new(Cluster::start(binaries, logs).await?);
        let store = Arc::clone(&cluster.store);
        let ports = Ports { http: pretended::free()?, https: pretended::free()? };
        gateway(&store, ports);
        let authority = Authority::default();
        let certificates =
            Certificates { newest: authority.issue(&[NAME]), store: Arc::clone(&store), authority };
        certificates.publish();
        let services = Services::start(Arc::clone(&store), Arc::clone(&ledger)).await?;
        let routes = Routes::start(store);
        let controller = cluster.controller("controller")?;
        let balancer = Arc::<Balancer>::default();
        let dataplanes = Dataplanes::start(Arc::clone(&cluster), Arc::clone(&balancer), ports).await?;
        let world = World {
            cluster,
            controller,
            certificates,
            services,
            routes,
            dataplanes,
            balancer,
            ledger,
            ports,
        };
        world.settled().await;
        Ok(world)
    }

    /// Asks and changes until there was enough of both; then waits until the last changes are served.
    pub(crate) async fn run(mut self, plan: &Plan) -> io::Result<()> {
        let (ledger, balancer, ports) = (Arc::clone(&self.ledger), Arc::clone(&self.balancer), self.ports);
        let root = self.certificates.authority.root.clone();
        let changing = async {
            let World { cluster, controller, certificates, services, routes, dataplanes, .. } = &mut self;
            let changed = tokio::try_join!(
                async {
                    for change in 0..plan.route_changes {
                        ledger.turn(change, plan.route_changes).await;
                        routes.change(change);
                    }
                    Ok(())
                },
                async {
                    let mut restarts = 0;
                    for roll in 0..plan.backend_rolls {
                        ledger.turn(roll, plan.backend_rolls).await;
                        services.roll().await?;
                        ledger.tell("the pods behind the Services are new");
                        // Between two rolls: nobody tells of pods while it is away.
                        if (roll + 1) * plan.controller_restarts >= (restarts + 1) * plan.backend_rolls {
                            restarted(controller, cluster, restarts).await?;
                            restarts += 1;
                            ledger.tell("the controller is new");
                        }
                    }
                    Ok(())
                },
                async {
                    for renewal in 0..plan.certificate_renewals {
                        ledger.turn(renewal, plan.certificate_renewals).await;
                        certificates.renew();
                        ledger.tell("the certificate is new");
                    }
                    Ok(())
                },
                async {
                    for roll in 0..plan.dataplane_rolls {
                        ledger.turn(roll, plan.dataplane_rolls).await;
                        dataplanes.roll().await?;
                        ledger.tell("the dataplanes are new");
                    }
                    io::Result::Ok(())
                },
            );
            ledger.changed();
            changed
        };
        let (changed, ()) = tokio::join!(changing, load::run(&ledger, &balancer, ports, &root));
        changed?;
        self.settled().await;
        Ok(())
    }

    /// Every dataplane serves every route and the certificate as they are now, and the statuses say so.
    async fn settled(&self) {
        for address in self.balancer.ready() {
            for route in self.routes.routes() {
                let (host, wanted) = (host(route.index), route.edit.to_string());
                // What it asks for is no request of the load.
                let ask = client::get(SocketAddr::from((address, self.ports.http)), "/1").host(&host);
                eventually(&format!("edit {wanted} of {host} is served by {address}"), async || {
                    (ask.clone().send().await.header(EDIT) == Some(&*wanted)).then_some(())
                })
                .await;
            }
            eventually(&format!("the newest certificate is shown by {address}"), async || {
                self.certificates.is_shown(address, self.ports.https).await.then_some(())
            })
            .await;
        }
        eventually("the statuses say that the routes are served", async || {
            self.routes.unserved().is_empty().then_some(())
        })
        .await;
    }
}

async fn restarted(controller: &mut Process, cluster: &Cluster, number: u64) -> io::Result<()> {
    controller.terminate();
    eventually("the controller ends", async || controller.ended().transpose()).await?;
    *controller = cluster.controller(&format!("controller-{number}"))?;
    Ok(())
}

impl Certificates {
    fn renew(&mut self) {
        self.newest = self.authority.issue(&[NAME]);
        self.publish();
    }

    fn publish(&self) {
        let Pair { certificate, key } = &self.newest;
        self.store.put(
            "/secrets",
            json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": {"namespace": NAMESPACE, "name": "pair"},
                "data": {"tls.crt": BASE64_STANDARD.encode(certificate), "tls.key": BASE64_STANDARD.encode(key)}}),
        );
    }

    async fn is_shown(&self, address: Ipv4Addr, port: u16) -> bool {
        let stream = client::tls((address, port).into(), NAME, &self.authority.root, &["http/1.1"]).await;
        let shown = stream.ok().and_then(|stream| stream.get_ref().1.peer_certificates()?.first().cloned());
        shown.as_ref() == self.newest.chain().first()
    }
}

fn gateway(store: &Store, ports: Ports) {
    pretended::namespace(store, NAMESPACE);
    store.put(
        "gateway.networking.k8s.io/gateways",
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": NAMESPACE, "name": "edge"},
        "spec": {"gatewayClassName": "gatehouse", "listeners": [
            {"name": "http", "protocol": "HTTP", "port": ports.http},
            {"name": "https", "protocol": "HTTPS", "port": ports.https,
                "tls": {"certificateRefs": [{"name": "pair"}]}},
        ]}}),
    );
}
