//! Asking servers over loopback.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use domain::{
    base::{Message, MessageBuilder, Name, Rtype, Ttl, iana::Rcode},
    rdata::{A, Aaaa, Cname},
};
use gatehouse_proto::config::v1;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    runtime::Handle,
    time::timeout,
};

use super::{Named, Names, Options, ask::ask, message::Family, message::Host};
use crate::{observe::metrics::Metrics, upstream::EndpointCell};

const PATIENCE: Duration = Duration::from_secs(20);

type Answers = fn(&Message<Vec<u8>>) -> Vec<Vec<u8>>;

/// Sends each answer to each question.
async fn server(answers: Answers) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 512];
        loop {
            let (length, asker) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_octets(buffer[..length].to_vec()).unwrap();
            for answer in answers(&question) {
                socket.send_to(&answer, asker).await.unwrap();
            }
        }
    });
    address
}

/// An alias and an address of it, and an address of somebody else; of IPv6 one address.
fn good(question: &Message<Vec<u8>>) -> Vec<Vec<u8>> {
    let alias: Name<Vec<u8>> = "b.example.com".parse().unwrap();
    let other: Name<Vec<u8>> = "c.example.com".parse().unwrap();
    let mut answer = MessageBuilder::new_vec().start_answer(question, Rcode::NOERROR).unwrap();
    let asked = question.sole_question().unwrap();
    if asked.qtype() == Rtype::A {
        answer.push((asked.qname(), Ttl::from_secs(7), Cname::new(&alias))).unwrap();
        answer.push((&alias, Ttl::from_secs(9), A::from_octets(10, 0, 0, 1))).unwrap();
        answer.push((&other, Ttl::from_secs(1), A::from_octets(10, 0, 0, 2))).unwrap();
    } else {
        answer.push((asked.qname(), Ttl::from_secs(9), Aaaa::new("fd00::1".parse().unwrap()))).unwrap();
    }
    vec![answer.finish()]
}

fn failing(question: &Message<Vec<u8>>) -> Vec<Vec<u8>> {
    vec![MessageBuilder::new_vec().start_answer(question, Rcode::SERVFAIL).unwrap().finish()]
}

/// What others might send in a server's place comes first.
fn disturbed(question: &Message<Vec<u8>>) -> Vec<Vec<u8>> {
    let answer = good(question).remove(0);
    let mut of_another_number = answer.clone();
    of_another_number[0] ^= 1;
    vec![vec![1, 2, 3], question.as_slice().to_vec(), of_another_number, answer]
}

fn truncated(question: &Message<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut answer = MessageBuilder::new_vec().start_answer(question, Rcode::NOERROR).unwrap();
    answer.header_mut().set_tc(true);
    vec![answer.finish()]
}

fn host() -> Host {
    Host::parse("A.example.com").unwrap()
}

#[tokio::test]
async fn answers_are_found_behind_aliases_disturbances_and_servers_that_fail() {
    let servers = [server(failing).await, server(disturbed).await];
    let v4 = ask(&servers, &host(), Family::V4).await.unwrap();
    assert_eq!(v4.addresses, [Ipv4Addr::new(10, 0, 0, 1)]);
    assert_eq!(v4.ttl, Some(Duration::from_secs(7)));
    let v6 = ask(&servers, &host(), Family::V6).await.unwrap();
    assert_eq!(v6.addresses[0].to_string(), "fd00::1");
    let failure = ask(&servers[..1], &host(), Family::V4).await.unwrap_err();
    assert_eq!(failure.to_string(), "the DNS server answers SERVFAIL");
}

#[tokio::test]
async fn what_does_not_fit_comes_over_tcp() {
    let server = server(truncated).await;
    let listener = TcpListener::bind(server).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut question = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut question).await.unwrap();
        let answer = good(&Message::from_octets(question).unwrap()).remove(0);
        stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    });
    let answer = ask(&[server], &host(), Family::V4).await.unwrap();
    assert_eq!(answer.addresses, [Ipv4Addr::new(10, 0, 0, 1)]);
}

fn addresses(cell: &EndpointCell) -> Vec<String> {
    cell.load_full().all().iter().map(|endpoint| endpoint.address.to_string()).collect()
}

async fn until(cell: &EndpointCell, wanted: &[&str]) {
    let looking = async {
        while addresses(cell) != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{wanted:?} and not {:?}", addresses(cell)));
}

#[tokio::test]
async fn another_name_takes_the_place_when_it_is_known() {
    let (right, wrong) = (server(good).await, server(failing).await);
    let options = |server: SocketAddr| {
        let wire = v1::Names { servers: vec![server.to_string()], ..v1::Names::default() };
        Options::compile(Some(&wire)).unwrap()
    };
    let cell = Arc::<EndpointCell>::default();
    let named = |name: &str, port, cell: &Arc<EndpointCell>| {
        let dns = v1::DnsName { name: name.into(), port };
        let named = Named::new("a".into(), &dns, Arc::clone(cell)).unwrap();
        BTreeMap::from([("service/a".to_owned(), named)])
    };
    let mut names = Names::new(Handle::current(), Arc::new(Metrics::default()));
    let unsettled = names.unsettled();
    names.update(&named("a.example.com", 80, &cell), &options(right));
    assert!(!unsettled.is_none());
    // There may be no route to the other.
    let looking = async {
        while !addresses(&cell).contains(&"10.0.0.1:80".to_owned()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap();
    assert!(unsettled.is_none());
    let before = addresses(&cell);
    // Whoever can't be asked any more changes nothing.
    names.update(&named("a.example.com", 80, &cell), &options(wrong));
    let known = names.running["service/a"].known.clone();
    timeout(PATIENCE, async {
        while !unsettled.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(addresses(&cell), before);
    assert!(!known.lock().addresses().is_empty());
    // A name that is new has nothing to keep.
    names.update(&named("b.example.com", 80, &cell), &options(wrong));
    assert_eq!(addresses(&cell), before);
    until(&cell, &[]).await;
    names.update(&BTreeMap::new(), &options(right));
    until(&cell, &[]).await;
}
