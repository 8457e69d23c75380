//! Conditions: their types and reasons, each once. Names are the Gateway API's where it has one.

use std::fmt;

use serde::{Serialize, Serializer};

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    Accepted,
    ResolvedRefs,
    Conflicted,
    PartiallyInvalid,
    /// Of GatewayClasses: the CRDs of the Gateway API are of the release that is served here (GEP-922).
    SupportedVersion,
    /// Of Gateways: clients without a valid certificate may be let in (GEP-91).
    InsecureFrontendValidationMode,
    /// Of routes, where AuthPolicies are used: one guards each rule that does not say that it is public.
    Protected,
    /// Of Gateways and listeners: every ready dataplane has it.
    Programmed,
    /// The same of kinds for which the Gateway API has no such condition.
    GatehouseProgrammed,
}

/// A condition without what the writer knows: time and generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: ConditionType,
    pub status: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Condition {
    pub(super) fn is(kind: ConditionType, reason: &'static str) -> Self {
        Condition { kind, status: true, reason, message: String::new() }
    }

    pub(super) fn not(kind: ConditionType, problem: Problem) -> Self {
        Condition { kind, status: false, reason: problem.reason, message: problem.message }
    }

    /// Something is wrong that a user must act on.
    pub fn is_problem(&self) -> bool {
        self.kind.is_problem(self.status, self.reason)
    }
}

impl ConditionType {
    pub(crate) const ALL: [ConditionType; 9] = [
        ConditionType::Accepted,
        ConditionType::ResolvedRefs,
        ConditionType::Conflicted,
        ConditionType::PartiallyInvalid,
        ConditionType::SupportedVersion,
        ConditionType::InsecureFrontendValidationMode,
        ConditionType::Protected,
        ConditionType::Programmed,
        ConditionType::GatehouseProgrammed,
    ];

    /// Whether a condition of this type is one that a user must act on.
    pub(crate) fn is_problem(self, status: bool, reason: &str) -> bool {
        match self {
            ConditionType::Accepted | ConditionType::ResolvedRefs | ConditionType::SupportedVersion => {
                !status
            }
            ConditionType::Conflicted | ConditionType::PartiallyInvalid => status,
            // Somebody wants it so, or may want it.
            ConditionType::InsecureFrontendValidationMode | ConditionType::Protected => false,
            // Else it is most often a matter of moments.
            ConditionType::Programmed | ConditionType::GatehouseProgrammed => {
                !status && [reason::REJECTED, reason::INVALID, reason::NO_RESOURCES].contains(&reason)
            }
        }
    }

    /// As it stands in a status.
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionType::Accepted => "Accepted",
            ConditionType::ResolvedRefs => "ResolvedRefs",
            ConditionType::Conflicted => "Conflicted",
            ConditionType::PartiallyInvalid => "PartiallyInvalid",
            ConditionType::SupportedVersion => "SupportedVersion",
            ConditionType::InsecureFrontendValidationMode => "InsecureFrontendValidationMode",
            ConditionType::Protected => "gatehouse.dev/Protected",
            ConditionType::Programmed => "Programmed",
            ConditionType::GatehouseProgrammed => "gatehouse.dev/Programmed",
        }
    }
}

impl Serialize for ConditionType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is wrong with an object: a reason for machines and a sentence for its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Problem { reason, message: message.into() }
    }

    /// One condition's worth of several.
    pub(super) fn join(problems: impl IntoIterator<Item = Problem>) -> Option<Problem> {
        let mut problems = problems.into_iter();
        let mut first = problems.next()?;
        for other in problems {
            if !first.message.contains(&other.message) {
                first.message.push_str("; ");
                first.message.push_str(&other.message);
            }
        }
        Some(first)
    }
}

/// What a field must not hold, said of an object as a whole.
impl From<String> for Problem {
    fn from(message: String) -> Self {
        Problem::new(reason::UNSUPPORTED_VALUE, message)
    }
}

/// Reasons.
pub(crate) mod reason {
    pub(in crate::translate) const ACCEPTED: &str = "Accepted";
    pub(in crate::translate) const SUPPORTED_VERSION: &str = "SupportedVersion";
    pub(in crate::translate) const UNSUPPORTED_VERSION: &str = "UnsupportedVersion";
    pub(in crate::translate) const RESOLVED_REFS: &str = "ResolvedRefs";
    pub(in crate::translate) const NO_CONFLICTS: &str = "NoConflicts";
    pub(in crate::translate) const PORT_UNAVAILABLE: &str = "PortUnavailable";
    pub(in crate::translate) const UNSUPPORTED_PROTOCOL: &str = "UnsupportedProtocol";
    pub(in crate::translate) const INCOMPATIBLE_FILTERS: &str = "IncompatibleFilters";
    pub(in crate::translate) const UNSUPPORTED_VALUE: &str = "UnsupportedValue";
    pub(in crate::translate) const PROTOCOL_CONFLICT: &str = "ProtocolConflict";
    pub(in crate::translate) const HOSTNAME_CONFLICT: &str = "HostnameConflict";
    pub(in crate::translate) const NOT_ALLOWED: &str = "NotAllowed";
    pub(crate) const PARENT_NOT_ACCEPTED: &str = "ParentNotAccepted";
    pub(in crate::translate) const LISTENERS_NOT_VALID: &str = "ListenersNotValid";
    pub(in crate::translate) const INVALID_PARAMETERS: &str = "InvalidParameters";
    pub(in crate::translate) const UNSUPPORTED_ADDRESS: &str = "UnsupportedAddress";
    pub(in crate::translate) const INVALID_CERTIFICATE_REF: &str = "InvalidCertificateRef";
    pub(in crate::translate) const INVALID_CA_CERTIFICATE_REF: &str = "InvalidCACertificateRef";
    pub(in crate::translate) const INVALID_CA_CERTIFICATE_KIND: &str = "InvalidCACertificateKind";
    pub(in crate::translate) const INVALID_CLIENT_CERTIFICATE_REF: &str = "InvalidClientCertificateRef";
    pub(in crate::translate) const CONFIGURATION_CHANGED: &str = "ConfigurationChanged";
    pub(in crate::translate) const NO_VALID_CA_CERTIFICATE: &str = "NoValidCACertificate";
    pub(in crate::translate) const INVALID_ROUTE_KINDS: &str = "InvalidRouteKinds";
    pub(in crate::translate) const REF_NOT_PERMITTED: &str = "RefNotPermitted";
    pub(in crate::translate) const NO_MATCHING_PARENT: &str = "NoMatchingParent";
    pub(in crate::translate) const NO_MATCHING_LISTENER_HOSTNAME: &str = "NoMatchingListenerHostname";
    pub(in crate::translate) const NOT_ALLOWED_BY_LISTENERS: &str = "NotAllowedByListeners";
    pub(in crate::translate) const INVALID_KIND: &str = "InvalidKind";
    pub(in crate::translate) const BACKEND_NOT_FOUND: &str = "BackendNotFound";
    pub(in crate::translate) const EXTERNAL_NAME_NOT_ALLOWED: &str = "ExternalNameNotAllowed";
    pub(in crate::translate) const POLICY_NOT_FOUND: &str = "PolicyNotFound";
    pub(in crate::translate) const AUTH_REQUIRED: &str = "AuthRequired";
    pub(in crate::translate) const PROTECTED: &str = "Protected";
    pub(in crate::translate) const NO_AUTH_POLICY: &str = "NoAuthPolicy";
    pub(in crate::translate) const TARGET_NOT_FOUND: &str = "TargetNotFound";
    pub(in crate::translate) const CONFLICTED: &str = "Conflicted";
    pub(crate) const INVALID: &str = "Invalid";
    pub(in crate::translate) const SECRET_NOT_FOUND: &str = "SecretNotFound";
    pub(in crate::translate) const KEYS_PENDING: &str = "KeysPending";
    pub(in crate::translate) const DUPLICATE_CREDENTIAL: &str = "DuplicateCredential";
    pub(in crate::translate) const UNCONVERTED: &str = "Unconverted";
    // Of Programmed alone.
    pub(crate) const PROGRAMMED: &str = "Programmed";
    pub(crate) const PARENT_NOT_PROGRAMMED: &str = "ParentNotProgrammed";
    pub(crate) const PENDING: &str = "Pending";
    pub(crate) const REJECTED: &str = "Rejected";
    pub(crate) const NOT_ACCEPTED: &str = "NotAccepted";
    pub(crate) const UNUSED: &str = "Unused";
    pub(crate) const NO_RESOURCES: &str = "NoResources";
    pub(crate) const ADDRESS_NOT_ASSIGNED: &str = "AddressNotAssigned";
    pub(crate) const ADDRESS_NOT_USABLE: &str = "AddressNotUsable";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ConditionType;

    const DOCS: &str = include_str!("../../../docs/status.md");

    /// The first column of the tables below a heading, without the head.
    fn rows(heading: &str) -> BTreeSet<&'static str> {
        let section = DOCS.split("\n## ").find(|section| section.starts_with(heading)).expect("the heading");
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        cells.collect()
    }

    /// What stands in quotes on the lines of constants, so that none is left out here.
    fn reasons() -> BTreeSet<&'static str> {
        let lines = include_str!("conditions.rs").lines().filter(|line| line.contains(") const "));
        lines.filter(|line| line.contains("&str")).filter_map(|line| line.split('"').nth(1)).collect()
    }

    #[test]
    fn the_guide_tells_every_reason_and_condition() {
        assert!(reasons().len() > 25, "{:?}", reasons());
        assert_eq!(rows("Reasons"), reasons());
        let types = ConditionType::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(rows("Conditions"), types);
    }

    /// The pattern and bounds of `reason` in every schema.
    #[test]
    fn reasons_are_ones_that_the_api_server_takes() {
        let pattern = regex::Regex::new("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$").expect("a pattern");
        for reason in reasons() {
            assert!(pattern.is_match(reason) && reason.len() <= 1024, "{reason}");
        }
    }
}
