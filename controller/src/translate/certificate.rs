//! Certificates of listeners, from Secrets of type `kubernetes.io/tls`.

use gatehouse_crds::CertificateRef;
use gatehouse_proto::config::v1::{Certificate, PrivateKeyKind};
use rustls::{crypto::aws_lc_rs::sign::any_supported_type, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::{
    conditions::{Problem, reason},
    grant,
};
use crate::resources::{ObjectKey, Resources};

/// The Secret that a listener refers to, and its content. The problem does not name the field.
pub(super) fn resolve(
    reference: &CertificateRef,
    from: grant::From<'_>,
    resources: &Resources,
) -> Result<(ObjectKey, Certificate), Problem> {
    let group = reference.group.as_deref().unwrap_or("");
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    if (group, kind) != ("", "Secret") {
        let message = format!("{kind} {} is no Secret", reference.name);
        return Err(Problem::new(reason::INVALID_CERTIFICATE_REF, message));
    }
    let key = ObjectKey::new(reference.namespace.as_deref().unwrap_or(from.namespace), &reference.name);
    if !grant::permits(resources, from, "", "Secret", &key) {
        let message = format!(
            "no ReferenceGrant in namespace {} lets a {} of {} use Secret {}",
            key.namespace, from.kind, from.namespace, key.name
        );
        return Err(Problem::new(reason::REF_NOT_PERMITTED, message));
    }
    let certificate = of(&key, resources)?;
    Ok((key, certificate))
}

/// The content of a Secret. The problem does not name the field.
pub(super) fn of(key: &ObjectKey, resources: &Resources) -> Result<Certificate, Problem> {
    let invalid = |what: &str| Problem::new(reason::INVALID_CERTIFICATE_REF, format!("Secret {key} {what}"));
    if !resources.secrets.contains_key(key) {
        return Err(invalid("does not exist"));
    }
    let entry = |name: &str| {
        resources
            .secret_entry(&key.namespace, &key.name, name)
            .ok_or_else(|| invalid(&format!("has no entry {name}")))
    };
    let (chain, private_key) = (entry("tls.crt")?, entry("tls.key")?);
    read(chain, private_key).map_err(|what| invalid(&what))
}

/// The error continues "Secret x ...".
fn read(chain: &[u8], private_key: &[u8]) -> Result<Certificate, String> {
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("holds no PEM certificate in tls.crt: {}", what(&error)))?;
    if chain.is_empty() {
        return Err("holds no PEM certificate in tls.crt".into());
    }
    let key = PrivateKeyDer::from_pem_slice(private_key)
        .map_err(|error| format!("holds no PEM private key in tls.key: {}", what(&error)))?;
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
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err("holds a certificate and a private key that do not fit each other".into());
        }
        Err(_) => return Err("holds a certificate in tls.crt that can't be read".into()),
    }
    Ok(Certificate {
        chain: chain.iter().map(|der| der.to_vec()).collect(),
        private_key: key.secret_der().to_vec(),
        private_key_kind: kind.into(),
    })
}

/// In our own words: the library's quote the text that they could not read, which may be the key itself.
pub(super) fn what(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "a section has no END line of its own: line breaks must be kept"
        }
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed: line breaks must be kept",
        pem::Error::Base64Decode(_) => "what stands between BEGIN and END is not base64",
        pem::Error::NoItemsFound => "there is no such section",
        _ => "it can't be read",
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::read;

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        (certificate.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_pair_is_read_whatever_stands_around_it() {
        let (chain, key) = pair();
        for (chain, key) in [
            (chain.clone(), key.clone()),
            (chain.replace('\n', "\r\n"), key.replace('\n', "\r\n")),
            (
                format!("subject=a\n{chain}"),
                format!(
                    "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{key}"
                ),
            ),
            (chain.repeat(20), key.clone()),
        ] {
            read(chain.as_bytes(), key.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_key() {
        let (chain, key) = pair();
        let (other_chain, other_key) = pair();
        let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
        let cut = key.len() / 2;
        let cases = [
            (chain.clone(), other_key, "do not fit each other"),
            (other_chain, key.clone(), "do not fit each other"),
            (String::new(), key.clone(), "no PEM certificate in tls.crt"),
            (chain.clone(), String::new(), "no PEM private key in tls.key"),
            // Swapped.
            (key.clone(), chain.clone(), "no PEM certificate in tls.crt"),
            // A block scalar that folded its lines.
            (chain.clone(), key.replace('\n', " "), "line breaks must be kept"),
            (chain.clone(), key.replace('\n', ""), "line breaks must be kept"),
            (chain.clone(), key.replacen('\n', "", 1), "line breaks must be kept"),
            (chain.clone(), key[..cut].to_owned(), "no PEM private key"),
            (chain.clone(), body.clone(), "no PEM private key"),
            (chain, key.replace(&body[..4], "?!?!"), "not base64"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(), key.clone(), "tls.crt"),
        ];
        for (chain, private_key, wanted) in cases {
            let told = read(chain.as_bytes(), private_key.as_bytes()).unwrap_err();
            assert!(told.contains(wanted), "{told}");
            assert!(told.len() < 120, "{told}");
            for part in body.as_bytes().windows(8) {
                let as_text = String::from_utf8_lossy(part).into_owned();
                let as_numbers = format!("{part:?}").trim_matches(['[', ']']).to_owned();
                assert!(!told.contains(&as_text) && !told.contains(&as_numbers), "{told}");
            }
        }
    }
}
