//! Which of the Gateway API's CRDs an API server has, as their annotations tell: a kind of an older bundle lacks fields
//! of a newer one, and the standard channel those that are experimental. What a schema lacks is pruned before anybody
//! here could see it.

use std::collections::BTreeMap;

use gatehouse_crds::GATEWAY_GROUP;

/// Says which bundle a CRD of the Gateway API is of, such as `v1.6.3` (GEP-922).
const VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// Says which channel: `standard` or `experimental` (GEP-922).
const CHANNEL: &str = "gateway.networking.k8s.io/channel";

/// By the plural of each kind, such as `httproutes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed(BTreeMap<String, Bundle>);

/// What a CRD says that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// As annotated; empty where it is not.
    pub version: String,
    pub experimental: bool,
}

impl Bundle {
    /// Major and minor of the version; `None` if it says none that can be read.
    pub fn release(&self) -> Option<(u32, u32)> {
        let mut parts = self.version.strip_prefix('v')?.split(['.', '-']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl Installed {
    /// Takes a CRD by its name, such as `httproutes.gateway.networking.k8s.io`. Those of other groups are nothing to it.
    pub fn insert(&mut self, crd: &str, annotations: &BTreeMap<String, String>) {
        let Some((kind, GATEWAY_GROUP)) = crd.split_once('.') else { return };
        let text = |name: &str| annotations.get(name).map_or("", String::as_str);
        let bundle =
            Bundle { version: text(VERSION).to_owned(), experimental: text(CHANNEL) == "experimental" };
        self.0.insert(kind.to_owned(), bundle);
    }

    pub fn remove(&mut self, crd: &str) {
        if let Some((kind, GATEWAY_GROUP)) = crd.split_once('.') {
            self.0.remove(kind);
        }
    }

    pub fn get(&self, kind: &str) -> Option<&Bundle> {
        self.0.get(kind)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bundle)> {
        self.0.iter().map(|(kind, bundle)| (kind.as_str(), bundle))
    }
}
