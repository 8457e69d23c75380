//! Certificates of listeners that are not valid now, or not for long.

use gatehouse_proto::config::v1::resource::Kind;
use jiff::{SignedDuration, Timestamp};
use x509_parser::parse_x509_certificate;

use super::{
    Configs,
    findings::{Code, Findings},
};
use crate::{
    manifests::{Identity, Severity},
    offline::Places,
};

pub(super) fn expiring(configs: &Configs, days: u16, places: &Places<'_>, findings: &mut Findings) {
    let now = Timestamp::now();
    let soon = now.saturating_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX);
    for (name, kind) in configs.values().flatten() {
        let Kind::Certificate(certificate) = &**kind else { continue };
        let Some(identity) = Identity::of_resource(name) else { continue };
        for der in &certificate.chain {
            let Ok((_, parsed)) = parse_x509_certificate(der) else { continue };
            let at = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
            let validity = parsed.validity();
            let (Some(from), Some(until)) = (at(validity.not_before), at(validity.not_after)) else {
                continue;
            };
            let (severity, about) = if until <= now {
                (Severity::Error, format!("expired at {until}"))
            } else if from > now {
                (Severity::Error, format!("is not valid before {from}"))
            } else if until <= soon {
                (Severity::Warning, format!("expires at {until}"))
            } else {
                continue;
            };
            let about = format!(": the certificate of {} {about}", parsed.subject());
            findings.add(Code::CertificateExpiry, places.problem(&identity, severity, &about));
        }
    }
}
