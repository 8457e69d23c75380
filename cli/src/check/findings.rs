//! What a check has found.

use std::collections::BTreeSet;

use crate::manifests::{Problem, Severity};

/// What kind of finding it is: stable, for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Code {
    /// The API server would refuse the object, or change it.
    Manifest,
    /// The controller would say it in the object's status.
    Status,
    /// A dataplane would refuse it.
    Rejected,
    /// An equal match is tried before.
    ShadowedRule,
    /// No AuthPolicy covers the rule.
    NoAuth,
    /// The policy applies to no route.
    UnusedPolicy,
    /// The certificate is not valid, or not for long.
    CertificateExpiry,
}

/// In the order of their places, each once.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeSet<(Problem, Code)>);

impl Code {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Code::Manifest => "manifest",
            Code::Status => "status",
            Code::Rejected => "rejected",
            Code::ShadowedRule => "shadowed-rule",
            Code::NoAuth => "no-auth",
            Code::UnusedPolicy => "unused-policy",
            Code::CertificateExpiry => "certificate-expiry",
        }
    }
}

impl Findings {
    pub(super) fn add(&mut self, code: Code, problem: Problem) {
        self.0.insert((problem, code));
    }

    pub(super) fn extend(&mut self, code: Code, problems: impl IntoIterator<Item = Problem>) {
        self.0.extend(problems.into_iter().map(|problem| (problem, code)));
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (Code, &Problem)> {
        self.0.iter().map(|(problem, code)| (*code, problem))
    }

    /// Of errors, warnings and notes.
    pub(super) fn counts(&self) -> [usize; 3] {
        [Severity::Error, Severity::Warning, Severity::Note]
            .map(|severity| self.all().filter(|(_, problem)| problem.severity == severity).count())
    }

    pub(super) fn worst(&self) -> Option<Severity> {
        self.all().map(|(_, problem)| problem.severity).min()
    }
}
