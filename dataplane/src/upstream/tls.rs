//! TLS to backends: whom to trust, which names a certificate must be for, and what the gateway shows of itself.
//!
//! Made once for each backend when its configuration is compiled; handshakes of all workers share it, and with it the
//! sessions that can be resumed.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use gatehouse_proto::config::v1::{self, subject_name::Kind as NameKind};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Protocol;
use crate::compile::certificate;

/// What one backend is spoken to with.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// The certificate that the gateway shows to backends. It may change while configurations that refer to it live.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnCertificate(Arc<ArcSwapOption<CertifiedKey>>);

/// A chain to a trusted authority, and one of some names in place of the one that was asked for.
#[derive(Debug)]
struct AnyName {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    names: Vec<SubjectName>,
}

#[derive(Debug)]
enum SubjectName {
    Host(ServerName<'static>),
    /// The certificate must be for this very wildcard.
    Wildcard(String),
    Uri(String),
}

impl Tls {
    /// What the handshake asks for.
    pub(crate) fn server_name(&self) -> String {
        self.name.to_str().into_owned()
    }

    pub(crate) fn compile(
        tls: &v1::UpstreamTls,
        protocol: Protocol,
        own: &OwnCertificate,
    ) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots(tls)?);
        let verifier: Arc<dyn ServerCertVerifier> = if tls.subject_names.is_empty() {
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| format!("the authorities can't be used: {error}"))?
        } else {
            let names = tls.subject_names.iter().map(SubjectName::compile).collect::<Result<_, _>>()?;
            Arc::new(AnyName { roots, provider: Arc::clone(&provider), names })
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(own.clone()));
        config.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::H2c => b"h2".to_vec(),
        }];
        Ok(Tls { config: Arc::new(config), name: host(&tls.server_name)? })
    }
}

fn roots(tls: &v1::UpstreamTls) -> Result<RootCertStore, String> {
    let mut roots = certificate::roots(&tls.roots)?;
    if tls.public_roots {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    if roots.is_empty() {
        return Err("no authority is trusted".into());
    }
    Ok(roots)
}

fn host(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is no host name"))
}

impl OwnCertificate {
    pub(crate) fn replace(&self, certificate: Option<Arc<CertifiedKey>>) {
        self.0.store(certificate);
    }
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.load_full().filter(|certificate| certificate.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        self.0.load().is_some()
    }
}

impl SubjectName {
    fn compile(name: &v1::SubjectName) -> Result<Self, String> {
        match &name.kind {
            Some(NameKind::Hostname(name)) if name.starts_with("*.") => {
                Ok(SubjectName::Wildcard(name.clone()))
            }
            Some(NameKind::Hostname(name)) => host(name).map(SubjectName::Host),
            Some(NameKind::Uri(uri)) => Ok(SubjectName::Uri(uri.clone())),
            None => Err("this dataplane does not know the kind of a subject name".into()),
        }
    }

    fn is_of(&self, certificate: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>) -> bool {
        match self {
            SubjectName::Host(name) => verify_server_name(parsed, name).is_ok(),
            SubjectName::Wildcard(wanted) => has(
                certificate,
                |name| matches!(name, GeneralName::DNSName(host) if host.eq_ignore_ascii_case(wanted)),
            ),
            SubjectName::Uri(wanted) => {
                has(certificate, |name| matches!(name, GeneralName::URI(uri) if uri == wanted))
            }
        }
    }
}

fn has(certificate: &CertificateDer<'_>, is_wanted: impl Fn(&GeneralName<'_>) -> bool) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(is_wanted)
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _asked_for: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        if self.names.iter().any(|name| name.is_of(end_entity, &parsed)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
