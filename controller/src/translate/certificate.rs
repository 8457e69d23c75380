//! Certificates of listeners, from Secrets of type `kubernetes.io/tls`.

use gatehouse_crds::{CertificateRef, GATEWAY_GROUP};
use gatehouse_proto::config::v1::{Certificate, PrivateKeyKind};
use rustls::{crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    conditions::{Problem, reason},
    grant,
};
use crate::resources::{ObjectKey, Resources};

/// The Secret that a listener of a Gateway in `namespace` refers to, and its content.
pub(super) fn resolve(
    reference: &CertificateRef,
    namespace: &str,
    resources: &Resources,
) -> Result<(ObjectKey, Certificate), Problem> {
    let group = reference.group.as_deref().unwrap_or("");
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    if (group, kind) != ("", "Secret") {
        let message = format!("certificateRefs: {kind} {} is no Secret", reference.name);
        return Err(Problem::new(reason::INVALID_CERTIFICATE_REF, message));
    }
    let key = ObjectKey::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    let from = grant::From { group: GATEWAY_GROUP, kind: "Gateway", namespace };
    if !grant::permits(resources, from, "", "Secret", &key) {
        let message = format!(
            "certificateRefs: no ReferenceGrant in namespace {} lets a Gateway of {namespace} use Secret {}",
            key.namespace, key.name
        );
        return Err(Problem::new(reason::REF_NOT_PERMITTED, message));
    }
    let invalid = |what: &str| {
        Problem::new(reason::INVALID_CERTIFICATE_REF, format!("certificateRefs: Secret {key} {what}"))
    };
    if !resources.secrets.contains_key(&key) {
        return Err(invalid("does not exist"));
    }
    let entry = |name: &str| {
        resources
            .secret_entry(&key.namespace, &key.name, name)
            .ok_or_else(|| invalid(&format!("has no entry {name}")))
    };
    let (chain, private_key) = (entry("tls.crt")?, entry("tls.key")?);
    let certificate = read(chain, private_key).map_err(|what| invalid(&what))?;
    Ok((key, certificate))
}

/// The error continues "Secret x ...".
fn read(chain: &[u8], private_key: &[u8]) -> Result<Certificate, String> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("holds no PEM certificates in tls.crt: {error}"))?;
    if chain.is_empty() {
        return Err("holds no PEM certificate in tls.crt".into());
    }
    let key = PrivateKeyDer::from_pem_slice(private_key)
        .map_err(|error| format!("holds no PEM private key in tls.key: {error}"))?;
    let kind = match &key {
        PrivateKeyDer::Pkcs8(_) => PrivateKeyKind::Pkcs8,
        PrivateKeyDer::Sec1(_) => PrivateKeyKind::Sec1,
        PrivateKeyDer::Pkcs1(_) => PrivateKeyKind::Pkcs1,
        _ => return Err("holds a private key of an unknown kind".into()),
    };
    let signing = any_supported_type(&key)
        .map_err(|error| format!("holds a private key that can't be used: {error}"))?;
    match CertifiedKey::new(chain.clone(), signing).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(_) => return Err("holds a certificate and a private key that do not fit each other".into()),
    }
    Ok(Certificate {
        chain: chain.iter().map(|der| der.to_vec()).collect(),
        private_key: key.secret_der().to_vec(),
        private_key_kind: kind.into(),
    })
}
