//! The certificate that a client showed in the TLS handshake, which was verified there.

mod subject;

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{UnixMillis, jwt::Claims};

/// More names than any client has; each is looked up.
const NAMES: usize = 64;

pub(crate) struct ClientCertificate {
    pub(super) names: Vec<CertificateName>,
    /// `subject`, `commonName`, `issuer`, `serial`, `sha256`, and the lists `dns`, `uri` and `email`.
    pub(super) claims: Claims,
    /// `certificate:NAME`: by the first of URI, DNS name, e-mail address and subject that it has.
    pub(super) credential: Arc<str>,
    not_after: UnixMillis,
}

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum CertificateName {
    /// In lower case.
    Dns(Box<str>),
    Uri(Box<str>),
    Email(Box<str>),
    /// RFC 4514.
    Subject(Box<str>),
}

impl ClientCertificate {
    /// The first of URI, DNS name, e-mail address and subject that it has.
    pub(crate) fn name(&self) -> &str {
        self.credential.split_once(':').map_or("", |(_, name)| name)
    }

    /// `None` if it can't be read, or has more names than any client needs: it stands for nobody.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let (mut dns, mut uri, mut email) = (Vec::new(), Vec::new(), Vec::new());
        for name in
            certificate.subject_alternative_name().ok()?.iter().flat_map(|names| &names.value.general_names)
        {
            match name {
                GeneralName::DNSName(name) => dns.push(name.to_ascii_lowercase()),
                GeneralName::URI(name) => uri.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => email.push((*name).to_owned()),
                _ => {}
            }
        }
        let subject = subject::text(certificate.subject());
        let mut names: Vec<CertificateName> = Vec::new();
        names.extend(uri.iter().map(|name| CertificateName::Uri(name.as_str().into())));
        names.extend(dns.iter().map(|name| CertificateName::Dns(name.as_str().into())));
        names.extend(email.iter().map(|name| CertificateName::Email(name.as_str().into())));
        names.extend(subject.as_deref().map(|name| CertificateName::Subject(name.into())));
        if names.len() > NAMES {
            return None;
        }
        let fingerprint = hex(digest::digest(&digest::SHA256, der).as_ref());
        let credential = names.first().map_or(&*fingerprint, CertificateName::text);
        let common_name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let facts = [
            ("subject", json!(subject)),
            ("commonName", json!(common_name)),
            ("issuer", json!(subject::text(certificate.issuer()))),
            ("serial", json!(hex(certificate.raw_serial()))),
            ("dns", json!(dns)),
            ("uri", json!(uri)),
            ("email", json!(email)),
            ("sha256", json!(fingerprint)),
        ];
        Some(ClientCertificate {
            credential: format!("certificate:{credential}").into(),
            claims: facts.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect(),
            names,
            not_after: certificate.validity().not_after.timestamp().saturating_mul(1000),
        })
    }

    /// A handshake looks at it once; a connection lives longer, and what resumes it does not look again.
    pub(super) fn is_over(&self, now: UnixMillis) -> bool {
        now > self.not_after
    }
}

impl CertificateName {
    fn text(&self) -> &str {
        match self {
            CertificateName::Dns(text)
            | CertificateName::Uri(text)
            | CertificateName::Email(text)
            | CertificateName::Subject(text) => text,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Claims are about people.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("credential", &self.credential).finish_non_exhaustive()
    }
}
