//! Certificates, made when they are needed.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

/// An authority that tests trust.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub root: CertificateDer<'static>,
    pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let root = certificate.der().clone();
        Authority { pem: certificate.pem(), issuer: Issuer::new(params, key), root }
    }
}

impl Authority {
    /// The authority's own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A ConfigMap with the authority's certificate, as JSON, which is YAML too.
    pub fn config_map(&self, name: &str) -> String {
        serde_json::json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"ca.crt": self.pem},
        })
        .to_string()
    }

    pub fn issue(&self, names: &[&str]) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Pair {
    /// Of a server that shows it.
    pub fn acceptor(&self) -> TlsAcceptor {
        crate::install_crypto();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(self.chain(), self.private_key());
        TlsAcceptor::from(Arc::new(config.expect("a pair")))
    }

    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.certificate.as_bytes()).map(|one| one.expect("PEM")).collect()
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("PEM")
    }

    /// A server that shows it, and asks clients for a certificate of `clients`, without which it serves them too.
    pub fn server(&self, clients: &Authority) -> Arc<ServerConfig> {
        crate::install_crypto();
        let mut roots = RootCertStore::empty();
        roots.add(clients.root.clone()).expect("a root");
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated();
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(self.chain(), self.private_key());
        Arc::new(config.expect("a pair"))
    }

    /// A Secret of type `kubernetes.io/tls`, as JSON, which is YAML too.
    pub fn secret(&self, name: &str) -> String {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name},
            "stringData": {"tls.crt": self.certificate, "tls.key": self.key},
        })
        .to_string()
    }
}
