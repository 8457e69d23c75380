//! How counts lie in a Redis Cluster.
//!
//! Every count lies on a *shelf*: a slot of the cluster, chosen by the policy and by what its requests have in common. So
//! the windows of a policy with the same key lie together, and one script decides on them; other keys lie elsewhere. The
//! shelves divide the slots evenly, so that 2, 3, 4, 6 or 12 nodes hold as many each. Each has its own epoch, which moves
//! with its slot, and each worker its own link, with its own breaker: a node that fails takes only its shelves along.
//!
//! A Redis that is no cluster is one shelf.

use std::sync::LazyLock;

use redis::{Value, aio::MultiplexedConnection};

use super::redis::kind;
use super::store::StoreError;

/// In a cluster. More would spread counts over more nodes, and be as many more connections of each worker.
pub(super) const SHELVES: usize = 12;
const SLOTS: usize = 16384;

static CLUSTER: LazyLock<[Shelf; SHELVES]> = LazyLock::new(|| std::array::from_fn(Shelf::in_cluster));
static ALONE: Shelf = Shelf { number: 0, slot: None, prefix: String::new() };

/// Where counts lie together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shelf {
    /// Below [`SHELVES`].
    pub(super) number: usize,
    /// Of the cluster; none: it is no cluster.
    pub(super) slot: Option<u16>,
    prefix: String,
}

impl Shelf {
    /// All that there are.
    pub(super) fn all(cluster: bool) -> &'static [Shelf] {
        if cluster { &*CLUSTER } else { std::slice::from_ref(&ALONE) }
    }

    /// The smallest number whose slot is of this shelf's part of all slots, and not near its ends, is its tag.
    fn in_cluster(number: usize) -> Shelf {
        let part = SLOTS / SHELVES;
        let middle = number * SLOTS / SHELVES + part / 4..number * SLOTS / SHELVES + part * 3 / 4;
        let mut tags = (0_u32..).map(|tag| tag.to_string()).map(|tag| (slot(tag.as_bytes()), tag));
        let found = tags.find(|(slot, _)| middle.contains(&usize::from(*slot)));
        let (slot, tag) = found.expect("the slots of numbers are spread over all");
        Shelf { number, slot: Some(slot), prefix: format!("{{{tag}}}:") }
    }

    /// What is called so on this shelf.
    pub(super) fn key(&self, name: &str) -> String {
        format!("gatehouse:{}{name}", self.prefix)
    }
}

/// Of a key's tag: CRC-16/XMODEM (Redis Cluster specification, "Key distribution model").
fn slot(tag: &[u8]) -> u16 {
    let crc =
        tag.iter().fold(0_u16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            })
        });
    crc % 16384
}

/// The primary that has the slot, as the node of this connection knows it. `None` for a host: that of this connection.
pub(super) async fn node(
    connection: &mut MultiplexedConnection,
    slot: u16,
) -> Result<(Option<String>, u16), StoreError> {
    let ranges: Vec<Value> =
        redis::cmd("CLUSTER").arg("SLOTS").query_async(connection).await.map_err(|error| kind(&error))?;
    ranges.iter().find_map(|range| primary(range, i64::from(slot))).ok_or(StoreError::Refused)
}

/// A range is its first slot, its last, the primary and its replicas; a node its host, its port, and more.
fn primary(range: &Value, slot: i64) -> Option<(Option<String>, u16)> {
    let Value::Array(range) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = range.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = node.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        Value::SimpleString(host) => host.clone(),
        _ => String::new(),
    };
    // A node that does not know its own name says so.
    let host = Some(host).filter(|host| !host.is_empty() && host != "?");
    let port = u16::try_from(*port).ok()?;
    (*first..=*last).contains(&slot).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::{SHELVES, Shelf, primary, slot};

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(slot(b"123456789"), 12739);
        assert_eq!(slot(b""), 0);
        assert_eq!(slot(b"foo"), 12182);
    }

    #[test]
    fn nodes_hold_as_many_shelves_each() {
        let slots: Vec<usize> =
            Shelf::all(true).iter().map(|shelf| usize::from(shelf.slot.unwrap())).collect();
        assert_eq!(slots.len(), SHELVES);
        for nodes in [2, 3, 4, 6, 12] {
            for node in 0..nodes {
                let range = node * 16384 / nodes..(node + 1) * 16384 / nodes;
                let held = slots.iter().filter(|slot| range.contains(*slot)).count();
                assert_eq!(held, SHELVES / nodes, "node {node} of {nodes}");
            }
        }
    }

    #[test]
    fn keys_lie_in_the_slot_of_their_shelf() {
        for shelf in Shelf::all(true) {
            let key = shelf.key("{ratelimit/a/b}:c:d");
            let tag = key.split_once('{').unwrap().1.split_once('}').unwrap().0;
            assert_eq!(Some(slot(tag.as_bytes())), shelf.slot, "{key}");
        }
        assert_eq!(Shelf::all(false)[0].key("epoch"), "gatehouse:epoch");
    }

    #[test]
    fn the_primary_of_a_slot_is_found() {
        let node = |host: &str, port| {
            Value::Array(vec![
                Value::BulkString(host.into()),
                Value::Int(port),
                Value::BulkString(b"id".to_vec()),
            ])
        };
        let range =
            |host| Value::Array(vec![Value::Int(5), Value::Int(9), node(host, 7000), node("replica", 7001)]);
        assert_eq!(primary(&range("a"), 5), Some((Some("a".to_owned()), 7000)));
        assert_eq!(primary(&range(""), 9), Some((None, 7000)));
        assert_eq!(primary(&range("a"), 10), None);
        assert_eq!(primary(&Value::Nil, 5), None);
    }
}
