//! A DNS server on a free port that answers what the test says.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use domain::{
    base::{Message, MessageBuilder, Rtype, Ttl, iana::Rcode},
    rdata::{A, Aaaa},
};
use tokio::{net::UdpSocket, task::JoinHandle};

/// Ends when it is dropped. Names that it was told nothing of do not exist.
#[derive(Debug)]
pub struct Dns {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Zone {
    /// By name, without the last dot; `None`: it can't be answered now.
    names: BTreeMap<String, Option<Records>>,
    /// Names as they were asked for.
    asked: Vec<String>,
}

#[derive(Debug)]
struct Records {
    addresses: Vec<IpAddr>,
    ttl: u32,
}

impl Dns {
    pub async fn start() -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("an address");
        let zone = Arc::<Mutex<Zone>>::default();
        let known = Arc::clone(&zone);
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 512];
            while let Ok((length, asker)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_octets(buffer[..length].to_vec()).expect("a message");
                let answer = known.lock().unwrap().answer(&question);
                let _ = socket.send_to(&answer, asker).await;
            }
        });
        Dns { address, zone, task }
    }

    /// From now on.
    pub fn set(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self.zone.lock().unwrap().names.insert(name.into(), Some(Records { addresses, ttl }));
    }

    /// SERVFAIL, from now on.
    pub fn fail(&self, name: &str) {
        self.zone.lock().unwrap().names.insert(name.into(), None);
    }

    /// There is no such name, from now on.
    pub fn remove(&self, name: &str) {
        self.zone.lock().unwrap().names.remove(name);
    }

    /// How often it was asked for a name.
    pub fn asked(&self, name: &str) -> usize {
        self.zone.lock().unwrap().asked.iter().filter(|asked| *asked == name).count()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Zone {
    fn answer(&mut self, question: &Message<Vec<u8>>) -> Vec<u8> {
        let asked = question.sole_question().expect("one question");
        let name = asked.qname().to_string();
        let (code, records) = match self.names.get(&name) {
            None => (Rcode::NXDOMAIN, None),
            Some(None) => (Rcode::SERVFAIL, None),
            Some(Some(records)) => (Rcode::NOERROR, Some(records)),
        };
        let mut answer = MessageBuilder::new_vec().start_answer(question, code).expect("an answer");
        for address in records.iter().flat_map(|records| &records.addresses) {
            let ttl = Ttl::from_secs(records.map_or(0, |records| records.ttl));
            let pushed = match address {
                IpAddr::V4(address) if asked.qtype() == Rtype::A => {
                    answer.push((asked.qname(), ttl, A::new(*address)))
                }
                IpAddr::V6(address) if asked.qtype() == Rtype::AAAA => {
                    answer.push((asked.qname(), ttl, Aaaa::new(*address)))
                }
                _ => Ok(()),
            };
            pushed.expect("it fits");
        }
        self.asked.push(name);
        answer.finish()
    }
}
