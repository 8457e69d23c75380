use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gatehouse_proto::config::v1;
use tokio::{net::TcpListener, runtime::Handle, time::timeout};

use super::{Checks, wait};
use crate::upstream::{EndpointCell, Protocol, Service, Standing, Traffic, Tried};

const PATIENCE: Duration = Duration::from_secs(20);

fn checked(interval_ms: u64) -> v1::Service {
    let active = v1::ActiveCheck {
        kind: Some(v1::active_check::Kind::Tcp(v1::Empty {})),
        interval_ms,
        timeout_ms: 5_000,
        healthy_threshold: 1,
        unhealthy_threshold: 2,
        refuse_when_none_healthy: false,
    };
    v1::Service { active: Some(active), ..v1::Service::default() }
}

fn service(cell: &Arc<EndpointCell>, wire: &v1::Service) -> Arc<Service> {
    Arc::new(Service {
        label: "a".into(),
        protocol: Protocol::Http1,
        tls: None,
        endpoints: Arc::clone(cell),
        traffic: Traffic::compile(wire).unwrap(),
    })
}

fn named(service: &Arc<Service>) -> BTreeMap<String, Arc<Service>> {
    BTreeMap::from([("service/a".to_owned(), Arc::clone(service))])
}

async fn until(service: &Service, is_so: impl Fn(Standing) -> bool) {
    let looking = async {
        while !is_so(service.standing()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, looking).await.expect("it comes to be so");
}

#[tokio::test]
async fn what_is_found_out_lasts_as_long_as_somebody_looks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let cell = Arc::<EndpointCell>::default();
    cell.replace(vec![listener.local_addr().unwrap().into(), closed.into()], false);
    let mut checks = Checks::new(Handle::current());
    let first = service(&cell, &checked(10));
    checks.update(&named(&first));
    until(&first, |standing| (standing.ready, standing.unhealthy) == (1, 1)).await;
    // Another policy goes on from there, however late it looks itself.
    let second = service(&cell, &checked(3_600_000));
    checks.update(&named(&second));
    assert_eq!(second.standing().unhealthy, 1);
    let picked = second.pick(|| 0, None, &Tried::default()).unwrap();
    assert_ne!(picked.address, closed);
    // Without checks there is no telling.
    let third = service(&cell, &v1::Service::default());
    checks.update(&BTreeMap::new());
    assert_eq!(third.standing().unhealthy, 0);
}

#[tokio::test]
async fn who_answers_again_is_fit_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let cell = Arc::<EndpointCell>::default();
    cell.replace(vec![address.into()], false);
    let mut checks = Checks::new(Handle::current());
    let service = service(&cell, &checked(10));
    checks.update(&named(&service));
    until(&service, |standing| standing.unhealthy == 1).await;
    assert!(service.pick(|| 0, None, &Tried::default()).is_some(), "it is better to ask it than nobody");
    let _listener = TcpListener::bind(address).await.unwrap();
    until(&service, |standing| standing.ready == 1).await;
}

#[test]
fn rounds_are_a_tenth_early_or_late_at_most() {
    let traffic = service(&Arc::default(), &checked(1000));
    for random in [0, 1, u64::MAX / 2, u64::MAX] {
        let wait = wait(traffic.active().unwrap(), random);
        assert!((Duration::from_millis(900)..=Duration::from_millis(1100)).contains(&wait), "{wait:?}");
    }
}
