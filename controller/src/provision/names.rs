//! Names of a Gateway's objects.
//!
//! A Gateway's name may be 253 characters long, have dots and begin with a digit (RFC 1123 subdomain); a Service's has at
//! most 63, no dots, and begins with a letter (RFC 1035 label), and a label's value has at most 63. What does not fit is
//! changed and gets a hash of the whole name, so that two Gateways never share an object.

use aws_lc_rs::digest::{SHA256, digest};

use crate::resources::ObjectKey;

const OBJECT: &str = "-gatehouse";
const PEERS: &str = "-gatehouse-peers";
const LONGEST: usize = 63;
/// Characters of the hash: 32 bits tell the Gateways of one namespace apart.
const HASH: usize = 8;

/// Of the Deployment, Service, ServiceAccount, ConfigMap, HorizontalPodAutoscaler and PodDisruptionBudget of a Gateway.
pub fn object_name(gateway: &str) -> String {
    stem(gateway) + OBJECT
}

/// Of the headless Service by which dataplanes find their siblings.
pub(super) fn peers_name(gateway: &str) -> String {
    stem(gateway) + PEERS
}

/// Under which DNS name dataplanes find their siblings.
pub fn peers_host(gateway: &ObjectKey) -> String {
    format!("{}.{}.svc", peers_name(&gateway.name), gateway.namespace)
}

/// The value of a label that names something.
pub(super) fn label_value(name: &str) -> String {
    if name.len() <= LONGEST { name.to_owned() } else { cut(name, LONGEST, name) }
}

fn stem(gateway: &str) -> String {
    let longest = LONGEST - PEERS.len();
    let begins_with_letter = gateway.starts_with(|first: char| first.is_ascii_lowercase());
    if gateway.len() <= longest && begins_with_letter && !gateway.contains('.') {
        return gateway.to_owned();
    }
    let letter = if begins_with_letter { "" } else { "g" };
    cut(&format!("{letter}{}", gateway.replace('.', "-")), longest, gateway)
}

/// At most `longest` characters: the beginning of `text` and a hash of `whole`. Names are ASCII; of what is not, nothing
/// but the hash is left.
fn cut(text: &str, longest: usize, whole: &str) -> String {
    let beginning = text.get(..text.len().min(longest - HASH - 1)).unwrap_or("g");
    let hash = digest(&SHA256, whole.as_bytes());
    let hash: String = hash.as_ref().iter().take(HASH / 2).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", beginning.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::{label_value, object_name, peers_name};

    #[test]
    fn what_fits_keeps_its_name() {
        assert_eq!(object_name("edge"), "edge-gatehouse");
        assert_eq!(peers_name("edge"), "edge-gatehouse-peers");
        let longest = "a".repeat(47);
        assert_eq!(peers_name(&longest), format!("{longest}-gatehouse-peers"));
        assert_eq!(label_value("a.b"), "a.b");
    }

    #[test]
    fn every_name_is_a_label_and_no_two_are_the_same() {
        let long = "a".repeat(253);
        let names = [
            "edge",
            "0edge",
            "g0edge",
            "a.b",
            "a-b",
            &"a".repeat(48),
            &"a".repeat(49),
            &long,
            &format!("{}b", "a".repeat(252)),
            &format!("{}.b", "a".repeat(37)),
            &format!("{}-b", "a".repeat(37)),
            &format!("{}-c{}", "a".repeat(37), "d".repeat(20)),
        ];
        let label = regex::Regex::new("^[a-z]([-a-z0-9]*[a-z0-9])?$").unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            for object in [object_name(name), peers_name(name)] {
                assert!(label.is_match(&object) && object.len() <= 63, "{name} -> {object}");
                assert!(!object.contains("--"), "{name} -> {object}");
                assert!(seen.insert(object), "{name} is somebody else's");
            }
            assert!(label_value(name).len() <= 63);
        }
    }
}
