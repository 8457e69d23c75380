//! Compiles a `Certificate`, and authorities.

use std::sync::Arc;

use gatehouse_proto::config::v1;
use rustls::{RootCertStore, crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Fails unless the key belongs to the leaf.
pub(crate) fn compile(certificate: &v1::Certificate) -> Result<Arc<CertifiedKey>, String> {
    let chain: Vec<_> = certificate.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    if chain.is_empty() {
        return Err("the certificate chain is empty".into());
    }
    let der = certificate.private_key.clone();
    let key = match certificate.private_key_kind() {
        v1::PrivateKeyKind::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
        v1::PrivateKeyKind::Sec1 => PrivateKeyDer::Sec1(der.into()),
        v1::PrivateKeyKind::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
        v1::PrivateKeyKind::Unspecified => {
            return Err("this dataplane does not know the kind of private key".into());
        }
    };
    let key = any_supported_type(&key).map_err(|error| format!("the private key can't be used: {error}"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(error) => Err(format!("certificate and private key do not fit: {error}")),
    }
}

/// Authorities to trust, DER.
pub(crate) fn roots(certificates: &[Vec<u8>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for der in certificates {
        roots
            .add(CertificateDer::from(der.clone()))
            .map_err(|error| format!("the certificate of an authority can't be used: {error}"))?;
    }
    Ok(roots)
}
