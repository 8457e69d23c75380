//! The kinds that are read of a cluster, and where its API has them.

use gatehouse_crds::CRDS;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// Kubernetes' own that the controller reads as a whole: API version, kind, plural, and whether they have namespaces.
const NATIVE: [(&str, &str, &str, bool); 5] = [
    ("v1", "Namespace", "namespaces", false),
    ("v1", "Service", "services", true),
    ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", true),
    ("networking.k8s.io/v1", "Ingress", "ingresses", true),
    ("networking.k8s.io/v1", "IngressClass", "ingressclasses", false),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// With its group, if it has one.
    api_version: String,
    kind: String,
    pub(super) plural: String,
    pub(super) is_namespaced: bool,
}

impl Kind {
    pub(crate) fn new(api_version: &str, kind: &str, plural: &str, is_namespaced: bool) -> Self {
        let (api_version, kind, plural) = (api_version.to_owned(), kind.to_owned(), plural.to_owned());
        Kind { api_version, kind, plural, is_namespaced }
    }

    /// One of the core group whose objects have namespaces, as `Secret`.
    pub(crate) fn core(kind: &str) -> Self {
        Kind::new("v1", kind, &format!("{}s", kind.to_ascii_lowercase()), true)
    }

    pub(crate) fn ingress() -> Self {
        Kind::new("networking.k8s.io/v1", "Ingress", "ingresses", true)
    }

    pub(super) fn ingress_class() -> Self {
        Kind::new("networking.k8s.io/v1", "IngressClass", "ingressclasses", false)
    }

    pub(super) fn resource(&self) -> ApiResource {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &self.kind), &self.plural)
    }
}

/// Those that the controller reads, but for Secrets and ConfigMaps.
pub(crate) fn of_controller() -> Vec<Kind> {
    let native = NATIVE.iter().map(|(version, kind, plural, has)| Kind::new(version, kind, plural, *has));
    native.chain(CRDS.iter().filter_map(|(_, text)| of_crd(text))).collect()
}

/// The version that is stored is the one that the controller asks for.
fn of_crd(text: &str) -> Option<Kind> {
    let crd: Value = serde_saphyr::from_str(text).ok()?;
    let (spec, names) = (&crd["spec"], &crd["spec"]["names"]);
    let version = spec["versions"].as_array()?.iter().find(|version| version["storage"] == true)?;
    let api_version = format!("{}/{}", spec["group"].as_str()?, version["name"].as_str()?);
    let is_namespaced = spec["scope"] == "Namespaced";
    Some(Kind::new(&api_version, names["kind"].as_str()?, names["plural"].as_str()?, is_namespaced))
}

#[cfg(test)]
mod tests {
    use gatehouse_controller::resources::{Applied, Resources};
    use serde_json::json;

    use super::{CRDS, Kind, of_controller};

    #[test]
    fn all_that_the_controller_takes_is_asked_for() {
        let kinds = of_controller();
        assert_eq!(kinds.len(), CRDS.len() + super::NATIVE.len());
        for (api_version, kind, plural, is_namespaced) in [
            ("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", true),
            ("gateway.networking.k8s.io/v1", "GatewayClass", "gatewayclasses", false),
            ("gatehouse.dev/v1alpha1", "TrafficPolicy", "trafficpolicies", true),
        ] {
            assert!(
                kinds.contains(&Kind::new(api_version, kind, plural, is_namespaced)),
                "{kind}: {kinds:#?}"
            );
        }
        for kind in kinds {
            // The version is one that is taken, whatever the shape.
            let object = json!({"apiVersion": kind.api_version, "kind": kind.kind});
            let applied = Resources::default().apply(object);
            assert!(!matches!(applied, Ok(Applied::Ignored)), "{kind:?}");
        }
    }
}
