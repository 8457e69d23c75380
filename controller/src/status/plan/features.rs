//! The Gateway API features that a GatewayClass reports: what is served, by the names of the conformance suite
//! (sigs.k8s.io/gateway-api/pkg/features). Conformance decides: a feature enters the list when its tests pass. It is
//! reported where the CRDs that are installed have its kind and its fields.

use crate::resources::{Bundle, Installed};

/// No release of that channel has it yet.
const NEVER: u32 = u32::MAX;

struct Feature {
    name: &'static str,
    /// The plural of the kind that it needs.
    kind: &'static str,
    /// Since which 1.x the kind has all that it needs, in the version that is watched here.
    standard: u32,
    experimental: u32,
}

impl Feature {
    const fn new(name: &'static str, kind: &'static str, standard: u32, experimental: u32) -> Self {
        Feature { name, kind, standard, experimental }
    }

    fn is_in(&self, bundle: &Bundle) -> bool {
        let since = if bundle.experimental { self.experimental } else { self.standard };
        // What a CRD says nothing of is taken for the least.
        let (major, minor) = bundle.release().unwrap_or((1, 0));
        major == 1 && minor >= since
    }
}

/// In ascending order, as `status.supportedFeatures` must be.
const FEATURES: &[Feature] = &[
    Feature::new("BackendTLSPolicy", "backendtlspolicies", 4, 4),
    Feature::new("BackendTLSPolicySANValidation", "backendtlspolicies", 4, 4),
    Feature::new("GRPCRoute", "grpcroutes", 1, 1),
    Feature::new("GRPCRouteNamedRouteRule", "grpcroutes", 4, 2),
    Feature::new("Gateway", "gateways", 0, 0),
    Feature::new("GatewayAddressEmpty", "gateways", 3, 3),
    Feature::new("GatewayBackendClientCertificate", "gateways", 5, 4),
    Feature::new("GatewayFrontendClientCertificateValidation", "gateways", 5, 4),
    Feature::new("GatewayFrontendClientCertificateValidationInsecureFallback", "gateways", 5, 4),
    Feature::new("GatewayHTTPListenerIsolation", "gateways", 0, 0),
    Feature::new("GatewayHTTPSListenerDetectMisdirectedRequests", "gateways", 0, 0),
    Feature::new("GatewayInfrastructure", "gateways", 3, 0),
    Feature::new("GatewayPort8080", "gateways", 0, 0),
    Feature::new("GatewayStaticAddresses", "gateways", 0, 0),
    Feature::new("HTTPRoute", "httproutes", 0, 0),
    Feature::new("HTTPRoute303RedirectStatusCode", "httproutes", 5, 5),
    Feature::new("HTTPRoute307RedirectStatusCode", "httproutes", 5, 5),
    Feature::new("HTTPRoute308RedirectStatusCode", "httproutes", 5, 5),
    Feature::new("HTTPRouteBackendProtocolH2C", "httproutes", 0, 0),
    Feature::new("HTTPRouteBackendProtocolWebSocket", "httproutes", 0, 0),
    Feature::new("HTTPRouteBackendRequestHeaderModification", "httproutes", 0, 0),
    Feature::new("HTTPRouteBackendTimeout", "httproutes", 2, 0),
    Feature::new("HTTPRouteCORS", "httproutes", 5, 3),
    Feature::new("HTTPRouteDestinationPortMatching", "httproutes", 1, 0),
    Feature::new("HTTPRouteHostRewrite", "httproutes", 0, 0),
    Feature::new("HTTPRouteMethodMatching", "httproutes", 0, 0),
    Feature::new("HTTPRouteNamedRouteRule", "httproutes", 4, 2),
    Feature::new("HTTPRouteParentRefPort", "httproutes", 1, 0),
    Feature::new("HTTPRoutePathRedirect", "httproutes", 0, 0),
    Feature::new("HTTPRoutePathRewrite", "httproutes", 0, 0),
    Feature::new("HTTPRoutePortRedirect", "httproutes", 0, 0),
    Feature::new("HTTPRouteQueryParamMatching", "httproutes", 0, 0),
    Feature::new("HTTPRouteRequestMirror", "httproutes", 0, 0),
    Feature::new("HTTPRouteRequestMultipleMirrors", "httproutes", 0, 0),
    Feature::new("HTTPRouteRequestPercentageMirror", "httproutes", 3, 2),
    Feature::new("HTTPRouteRequestTimeout", "httproutes", 2, 0),
    Feature::new("HTTPRouteResponseHeaderModification", "httproutes", 0, 0),
    Feature::new("HTTPRouteRetry", "httproutes", NEVER, 2),
    Feature::new("HTTPRouteRetryBackendTimeout", "httproutes", NEVER, 2),
    Feature::new("HTTPRouteRetryConnectionError", "httproutes", NEVER, 2),
    Feature::new("HTTPRouteSchemeRedirect", "httproutes", 0, 0),
    Feature::new("ListenerSet", "listenersets", 5, 5),
    Feature::new("ReferenceGrant", "referencegrants", 0, 0),
    Feature::new("TCPRoute", "tcproutes", 6, 6),
    Feature::new("TLSRoute", "tlsroutes", 5, 5),
    Feature::new("TLSRouteModeMixed", "tlsroutes", 5, 5),
    Feature::new("TLSRouteModeTerminate", "tlsroutes", 5, 5),
    Feature::new("UDPRoute", "udproutes", 6, 6),
];

/// What is served of what is installed, in ascending order.
pub(super) fn served(installed: &Installed) -> impl Iterator<Item = &'static str> {
    let is_served =
        |feature: &&Feature| installed.get(feature.kind).is_some_and(|bundle| feature.is_in(bundle));
    FEATURES.iter().filter(is_served).map(|feature| feature.name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{FEATURES, served};
    use crate::resources::Installed;

    fn installed(kinds: &[&str], version: &str, channel: &str) -> Installed {
        let annotations = BTreeMap::from([
            ("gateway.networking.k8s.io/bundle-version".to_owned(), version.to_owned()),
            ("gateway.networking.k8s.io/channel".to_owned(), channel.to_owned()),
        ]);
        let mut all = Installed::default();
        for kind in kinds {
            all.insert(&format!("{kind}.gateway.networking.k8s.io"), &annotations);
        }
        all
    }

    fn all_kinds() -> Vec<&'static str> {
        FEATURES.iter().map(|feature| feature.kind).collect()
    }

    #[test]
    fn sorted_each_once() {
        assert!(FEATURES.is_sorted_by(|one, next| one.name < next.name));
    }

    #[test]
    fn the_experimental_channel_of_today_has_all() {
        let all: Vec<&str> = served(&installed(&all_kinds(), "v1.6.3", "experimental")).collect();
        assert_eq!(all.len(), FEATURES.len());
    }

    #[test]
    fn the_standard_channel_has_no_retries() {
        let standard = installed(&all_kinds(), "v1.6.3", "standard");
        let missing: Vec<&str> = FEATURES
            .iter()
            .map(|feature| feature.name)
            .filter(|name| !served(&standard).any(|served| served == *name))
            .collect();
        assert_eq!(
            missing,
            ["HTTPRouteRetry", "HTTPRouteRetryBackendTimeout", "HTTPRouteRetryConnectionError"]
        );
    }

    #[test]
    fn a_kind_that_is_not_installed_or_too_old_has_none() {
        let names = |installed: &Installed| served(installed).collect::<Vec<_>>();
        assert_eq!(names(&installed(&["referencegrants"], "v1.6.3", "standard")), ["ReferenceGrant"]);
        assert_eq!(names(&installed(&["tcproutes"], "v1.5.0", "experimental")), [""; 0]);
        assert_eq!(names(&installed(&["grpcroutes"], "v1.3.0", "standard")), ["GRPCRoute"]);
        assert_eq!(names(&installed(&["grpcroutes"], "v1.2.0-rc1", "standard")), ["GRPCRoute"]);
        assert_eq!(names(&installed(&["grpcroutes"], "", "")), [""; 0]);
        assert_eq!(names(&installed(&["gateways"], "v2.0.0", "standard")), [""; 0]);
    }
}
