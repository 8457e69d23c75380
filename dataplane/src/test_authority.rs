//! An authority for tests, and what it signs.

use gatehouse_proto::config::v1::{Certificate, PrivateKeyKind};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

use crate::compile::certificate;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    pub(crate) der: Vec<u8>,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().to_vec());
        Authority { issuer: Issuer::new(params, key), pem, der }
    }
}

impl Authority {
    /// For a host name, an address or a URI.
    pub(crate) fn issue(&self, name: &str) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        if name.contains("://") {
            params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        } else {
            params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        }
        // Whose subject is its issuer's is its own authority to OpenSSL.
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            chain: vec![certificate.der().to_vec()],
            private_key: key.serialize_der(),
            private_key_kind: PrivateKeyKind::Pkcs8.into(),
        }
    }

    /// A server that proves itself as `name`.
    pub(crate) fn server(&self, name: &str) -> rustls::ServerConfig {
        let certified = certificate::compile(&self.issue(name)).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}
