//! Certificates of authorities, from ConfigMaps: the entry `ca.crt`, PEM.

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::certificate::what;
use crate::resources::{ObjectKey, Resources};

const ENTRY: &str = "ca.crt";

/// DER. The error is a sentence.
pub(super) fn read(config_map: &ObjectKey, resources: &Resources) -> Result<Vec<Vec<u8>>, String> {
    let invalid = |what: &str| format!("ConfigMap {config_map} {what}");
    let object = resources.config_maps.get(config_map).ok_or_else(|| invalid("does not exist"))?;
    let text = object.data.as_ref().and_then(|data| data.get(ENTRY));
    let text = text.ok_or_else(|| invalid("has no entry ca.crt"))?;
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(&format!("holds no PEM certificate in ca.crt: {}", what(&error))))?;
    if certificates.is_empty() {
        return Err(invalid("holds no PEM certificate in ca.crt"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|_| invalid("holds a certificate in ca.crt that can't be read"))?;
    }
    Ok(certificates.iter().map(|certificate| certificate.to_vec()).collect())
}
