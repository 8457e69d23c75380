//! Whether the CRDs of the Gateway API that are installed are of the release that is served here (GEP-922).

use super::conditions::{Condition, ConditionType, Problem, reason};
use crate::resources::Installed;

/// Of the Gateway API: the one whose conformance suite is passed. What an older one has is served too, as far as it goes.
const RELEASE: (u32, u32) = (1, 6);

/// `None` without an API server.
pub(super) fn condition(installed: &Installed) -> Option<Condition> {
    let mut others = installed.iter().filter(|(_, bundle)| bundle.release() != Some(RELEASE)).peekable();
    installed.iter().next()?;
    if others.peek().is_none() {
        return Some(Condition::is(ConditionType::SupportedVersion, reason::SUPPORTED_VERSION));
    }
    let others: Vec<String> = others
        .map(|(kind, bundle)| match bundle.version.as_str() {
            "" => format!("{kind} of no stated version"),
            version => format!("{kind} of {version}"),
        })
        .collect();
    let (major, minor) = RELEASE;
    let message = format!(
        "the CRDs of the Gateway API should be of v{major}.{minor}; installed are {}; what they have is served as far as it is known here",
        others.join(", ")
    );
    Some(Condition::not(ConditionType::SupportedVersion, Problem::new(reason::UNSUPPORTED_VERSION, message)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Installed, RELEASE, condition};

    fn installed(kinds: &[(&str, &str)]) -> Installed {
        let mut all = Installed::default();
        for (kind, version) in kinds {
            let annotations = BTreeMap::from([(
                "gateway.networking.k8s.io/bundle-version".to_owned(),
                (*version).to_owned(),
            )]);
            all.insert(&format!("{kind}.gateway.networking.k8s.io"), &annotations);
        }
        all
    }

    #[test]
    fn the_release_is_that_of_the_crds_that_the_chart_brings() {
        let crd = include_str!("../../../crds/gateway-api/gateway.networking.k8s.io_gatewayclasses.yaml");
        let (major, minor) = RELEASE;
        assert!(crd.contains(&format!("gateway.networking.k8s.io/bundle-version: v{major}.{minor}.")));
    }

    #[test]
    fn other_versions_are_named() {
        assert_eq!(condition(&Installed::default()), None);
        let good = condition(&installed(&[("httproutes", "v1.6.0"), ("gateways", "v1.6.3")])).unwrap();
        assert!(good.status);
        let mixed = [("httproutes", "v1.4.1"), ("gateways", "v1.6.3"), ("grpcroutes", "")];
        let mixed = condition(&installed(&mixed)).unwrap();
        assert!(!mixed.status);
        assert_eq!(mixed.reason, "UnsupportedVersion");
        assert!(
            mixed.message.contains("grpcroutes of no stated version, httproutes of v1.4.1;"),
            "{mixed:?}"
        );
    }
}
