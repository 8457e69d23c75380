//! Where a Gateway can be reached, by its Service.

use gatehouse_crds::GatewayAddress;
use k8s_openapi::api::core::v1::Service;

/// The addresses of a Service, for `status.addresses`. Of type LoadBalancer: what was assigned to it, so that there is none
/// until then. Of other types: its external IPs, and its cluster IPs; a NodePort's nodes are not known here.
pub fn addresses(service: &Service) -> Vec<GatewayAddress> {
    let spec = service.spec.as_ref();
    let mut addresses = Vec::new();
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer") {
        let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        for ingress in balancer.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten() {
            addresses.extend(ingress.ip.as_deref().map(|ip| address("IPAddress", ip)));
            addresses.extend(ingress.hostname.as_deref().map(|name| address("Hostname", name)));
        }
    } else {
        let external = spec.and_then(|spec| spec.external_ips.as_ref()).into_iter().flatten();
        let cluster = spec.and_then(|spec| spec.cluster_ips.as_ref()).into_iter().flatten();
        let usable = external.chain(cluster).filter(|ip| !ip.is_empty() && *ip != "None");
        addresses.extend(usable.map(|ip| address("IPAddress", ip)));
    }
    addresses
}

fn address(kind: &str, value: &str) -> GatewayAddress {
    GatewayAddress { kind: Some(kind.to_owned()), value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::{Value, json};

    fn addresses(spec: &Value, status: &Value) -> Vec<String> {
        let service: Service = serde_json::from_value(json!({"spec": spec, "status": status})).unwrap();
        let kinds = super::addresses(&service).into_iter();
        kinds.map(|address| format!("{} {}", address.kind.unwrap(), address.value)).collect()
    }

    #[test]
    fn by_the_type_of_the_service() {
        let cluster = json!({"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"]});
        assert!(addresses(&cluster, &json!({})).is_empty(), "not assigned yet");
        let ingress = json!([{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]);
        let assigned = addresses(&cluster, &json!({"loadBalancer": {"ingress": ingress}}));
        assert_eq!(assigned, ["IPAddress 192.0.2.1", "Hostname lb.example.com"]);
        let inside =
            json!({"type": "ClusterIP", "clusterIPs": ["10.0.0.1", "fd00::1"], "externalIPs": ["192.0.2.7"]});
        assert_eq!(
            addresses(&inside, &json!({})),
            ["IPAddress 192.0.2.7", "IPAddress 10.0.0.1", "IPAddress fd00::1"]
        );
        assert_eq!(
            addresses(&json!({"type": "NodePort", "clusterIPs": ["10.0.0.2"]}), &json!({})),
            ["IPAddress 10.0.0.2"]
        );
        assert!(addresses(&json!({"clusterIPs": ["None"]}), &json!({})).is_empty());
    }
}
