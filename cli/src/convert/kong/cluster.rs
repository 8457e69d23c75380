//! The configuration of Kong's ingress controller as a cluster holds it. In place of what credentials are made of stands
//! where it is: who converts is told which Secrets to make.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    cluster::{Cluster, Kind},
    convert::cluster::{ingresses, name, namespace, redact, services},
    run::RunError,
};

/// As its IngressClass names it.
const CONTROLLER: &str = "ingress-controllers.konghq.com/kong";
/// Of its Ingresses before there were classes.
const CLASS: &str = "kong";
const GROUP: &str = "configuration.konghq.com";
/// Kinds of its group: version, kind, plural, and whether they have namespaces.
const KINDS: [(&str, &str, &str, bool); 11] = [
    ("v1", "KongPlugin", "kongplugins", true),
    ("v1", "KongClusterPlugin", "kongclusterplugins", false),
    ("v1", "KongConsumer", "kongconsumers", true),
    ("v1beta1", "KongConsumerGroup", "kongconsumergroups", true),
    ("v1", "KongIngress", "kongingresses", true),
    ("v1beta1", "TCPIngress", "tcpingresses", true),
    ("v1beta1", "UDPIngress", "udpingresses", true),
    ("v1beta1", "KongUpstreamPolicy", "kongupstreampolicies", true),
    ("v1alpha1", "KongVault", "kongvaults", false),
    ("v1alpha1", "KongCustomEntity", "kongcustomentities", true),
    ("v1alpha1", "IngressClassParameters", "ingressclassparameterses", true),
];
/// Entries of a credential that keep nobody out.
const OPEN: [&str; 6] = ["kongCredType", "username", "group", "algorithm", "rsa_public_key", "ttl"];

pub(in crate::convert) fn objects_of(cluster: &Cluster) -> Result<Vec<Value>, RunError> {
    let mut objects = ingresses(cluster, CONTROLLER, CLASS)?;
    objects.extend(services(cluster, &objects)?);
    let mut credentials = BTreeSet::new();
    for (version, kind, plural, is_namespaced) in KINDS {
        let listed = cluster.list(&Kind::new(&format!("{GROUP}/{version}"), kind, plural, is_namespaced))?;
        for consumer in listed.iter().filter(|_| kind == "KongConsumer") {
            let names = consumer["credentials"].as_array().into_iter().flatten().filter_map(Value::as_str);
            credentials.extend(names.map(|name| (namespace(consumer), name.to_owned())));
        }
        objects.extend(listed);
    }
    for (namespace, name) in credentials {
        if let Some(mut secret) = cluster.get(&Kind::core("Secret"), &namespace, &name)? {
            withhold(&mut secret);
            objects.push(secret);
        }
    }
    Ok(objects)
}

/// Of a token's credential, `key` is a name.
fn withhold(secret: &mut Value) {
    let label = &secret["metadata"]["labels"]["konghq.com/credential"];
    let is_token = label == "jwt" || secret["data"]["kongCredType"] == STANDARD.encode("jwt");
    let place = format!("{}/{}", namespace(secret), name(secret));
    redact(secret, |entry, text| {
        if OPEN.contains(&entry) || (is_token && entry == "key") {
            text.to_owned()
        } else {
            format!("${{{{ Secret {place} entry {entry} }}}}")
        }
    });
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::json;

    use super::withhold;

    #[test]
    fn what_keeps_somebody_out_is_withheld() {
        let secret = |label: &str, entries: &[(&str, &str)]| {
            let data: serde_json::Map<_, _> =
                entries.iter().map(|(name, text)| ((*name).into(), STANDARD.encode(text).into())).collect();
            let mut secret = json!({"metadata": {"name": "s", "namespace": "ns"}, "data": data});
            if !label.is_empty() {
                secret["metadata"]["labels"] = json!({"konghq.com/credential": label});
            }
            withhold(&mut secret);
            let read = |(name, value): (&String, &serde_json::Value)| {
                let text = STANDARD.decode(value.as_str().expect("text")).expect("base64");
                (name.clone(), String::from_utf8(text).expect("UTF-8"))
            };
            secret["data"].as_object().expect("a map").iter().map(read).collect::<Vec<_>>()
        };
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let key = "${{ Secret ns/s entry key }}";
        assert_eq!(secret("key-auth", &[("key", "abc")]), [pair("key", key)]);
        let old = [("key", "iss"), ("kongCredType", "jwt"), ("secret", "abc")];
        let of_secret = pair("secret", "${{ Secret ns/s entry secret }}");
        assert_eq!(secret("", &old), [pair("key", "iss"), pair("kongCredType", "jwt"), of_secret]);
        let user = [("password", "abc"), ("username", "ann")];
        let password = pair("password", "${{ Secret ns/s entry password }}");
        assert_eq!(secret("basic-auth", &user), [password, pair("username", "ann")]);
    }
}
