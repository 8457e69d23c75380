//! Which clients the listeners of a port let in, by their certificates (GEP-91).

use std::sync::Arc;

use gatehouse_proto::config::v1;
use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::compile::certificate;

/// Equal where the same clients are let in.
#[derive(Debug)]
pub(crate) struct Clients {
    wire: v1::ClientValidation,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
}

/// Lets in whoever comes, and asks for a certificate all the same.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl Clients {
    pub(crate) fn compile(wire: &v1::ClientValidation) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(certificate::roots(&wire.roots)?);
        let verifier: Arc<dyn ClientCertVerifier> = if wire.insecure_fallback {
            Arc::new(Anybody(provider.signature_verification_algorithms))
        } else {
            WebPkiClientVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| format!("the authorities of clients can't be used: {error}"))?
        };
        Ok(Clients { wire: wire.clone(), verifier })
    }
}

impl Clients {
    /// What clients show was looked at.
    pub(super) fn verify(&self) -> bool {
        !self.wire.insecure_fallback
    }
}

impl PartialEq for Clients {
    fn eq(&self, other: &Self) -> bool {
        self.wire == other.wire
    }
}

/// For the shortcut that shared values take.
impl Eq for Clients {}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
