//! The certificate authority of the channel, as a value: what signs now, what will, and what is still trusted. Pure, but
//! for the randomness of fresh keys.
//!
//! It rotates without a gap: the next root is trusted a while before it signs, and the last one until it ends.
//! Everything that is issued follows from the root and the name alone, so that all replicas issue the same.

use aws_lc_rs::{
    digest::{SHA256, digest},
    hkdf::{HKDF_SHA256, Salt},
    signature::Ed25519KeyPair,
};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

const COMMON_NAME: &str = "Gatehouse configuration channel";
const LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);
/// When this is left of the signing root, the next one is made.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(122 * 24);
/// How long the next root is trusted before it signs: far longer than a ConfigMap takes to reach a pod.
const TRUSTED_BEFORE_SIGNING: SignedDuration = SignedDuration::from_hours(24);
/// Clocks differ.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Why an authority can't be used or made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is no PEM certificate of an authority")]
    Certificate(&'static str),
    #[error("{0} is no PEM private key (Ed25519, PKCS #8)")]
    Key(&'static str),
    #[error("can't sign: {0}")]
    Sign(#[from] rcgen::Error),
    #[error("the crypto library failed")]
    Crypto,
}

/// Roots of trust, as they are kept in a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    signing: Root,
    next: Option<Root>,
    /// Certificates of roots that signed before and have not ended.
    previous: Vec<Certificate>,
}

#[derive(Clone, PartialEq, Eq)]
struct Root {
    certificate: Certificate,
    /// PKCS #8, PEM.
    key: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Certificate {
    pem: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// A certificate of the authority for a server, and its key.
pub struct Issued {
    pub certificate: CertificateDer<'static>,
    pub key: PrivatePkcs8KeyDer<'static>,
}

/// The entries of the Secret, in which an authority is kept.
pub(super) mod entry {
    /// Every root that is trusted.
    pub(in crate::channel) const BUNDLE: &str = "ca.crt";
    pub(in crate::channel) const CERTIFICATE: &str = "tls.crt";
    pub(in crate::channel) const KEY: &str = "tls.key";
    pub(in crate::channel) const NEXT_CERTIFICATE: &str = "next.crt";
    pub(in crate::channel) const NEXT_KEY: &str = "next.key";
}

impl Authority {
    pub fn generate(now: Timestamp) -> Result<Self, AuthorityError> {
        Ok(Authority { signing: Root::generate(now)?, next: None, previous: Vec::new() })
    }

    /// From the entries of its Secret.
    pub(super) fn parse<'a>(entry: impl Fn(&str) -> Option<&'a [u8]>) -> Result<Self, AuthorityError> {
        let signing = Root::parse(&entry, entry::CERTIFICATE, entry::KEY)?;
        let next = match entry(entry::NEXT_CERTIFICATE) {
            Some(_) => Some(Root::parse(&entry, entry::NEXT_CERTIFICATE, entry::NEXT_KEY)?),
            None => None,
        };
        let bundle = entry(entry::BUNDLE).unwrap_or_default();
        let mut previous = Vec::new();
        for der in CertificateDer::pem_slice_iter(bundle) {
            let certificate = der
                .ok()
                .and_then(|der| Certificate::from_der(&der))
                .ok_or(AuthorityError::Certificate(entry::BUNDLE))?;
            let is_known = certificate == signing.certificate
                || next.as_ref().is_some_and(|next| next.certificate == certificate);
            if !is_known {
                previous.push(certificate);
            }
        }
        Ok(Authority { signing, next, previous })
    }

    /// The entries of its Secret.
    pub(super) fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = vec![
            (entry::BUNDLE, self.bundle()),
            (entry::CERTIFICATE, self.signing.certificate.pem.clone()),
            (entry::KEY, self.signing.key.clone()),
        ];
        if let Some(next) = &self.next {
            entries.push((entry::NEXT_CERTIFICATE, next.certificate.pem.clone()));
            entries.push((entry::NEXT_KEY, next.key.clone()));
        }
        entries
    }

    /// What dataplanes trust, as PEM.
    pub fn bundle(&self) -> String {
        let next = self.next.iter().map(|next| &next.certificate);
        let all = std::iter::once(&self.signing.certificate).chain(next).chain(&self.previous);
        all.map(|certificate| certificate.pem.as_str()).collect()
    }

    /// What it has to become by now; `None`: it may stay as it is.
    pub(super) fn advanced(&self, now: Timestamp) -> Result<Option<Self>, AuthorityError> {
        let mut advanced = self.clone();
        let has_ended = |certificate: &Certificate| certificate.not_after <= now;
        if has_ended(&advanced.signing.certificate) && advanced.next.is_none() {
            advanced.next = Some(Root::generate(now)?);
        }
        let may_sign = |next: &Root| {
            now >= next.certificate.not_before + SKEW + TRUSTED_BEFORE_SIGNING
                || has_ended(&self.signing.certificate)
        };
        if let Some(next) = advanced.next.take_if(|next| may_sign(next)) {
            let last = std::mem::replace(&mut advanced.signing, next);
            advanced.previous.push(last.certificate);
        }
        if advanced.next.is_none() && now >= advanced.signing.certificate.not_after - RENEW_BEFORE {
            advanced.next = Some(Root::generate(now)?);
        }
        advanced.previous.retain(|certificate| !has_ended(certificate));
        Ok((advanced != *self).then_some(advanced))
    }

    /// A certificate for a server of these DNS names, as long as the root. `purpose` and names decide the key: the same
    /// give the same.
    pub fn issue(&self, purpose: &str, names: &[String]) -> Result<Issued, AuthorityError> {
        let root = &self.signing;
        let key = root.derived_key(purpose, names)?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
        params.not_before = offset(root.certificate.not_before);
        params.not_after = offset(root.certificate.not_after);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let serial = digest(&SHA256, key.public_key_raw());
        // RFC 5280 4.1.2.2: positive, at most 20 bytes.
        let mut serial = serial.as_ref()[..16].to_vec();
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from(serial));
        let issuer = Issuer::new(root_params(), root.key_pair()?);
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Issued { certificate: certificate.into(), key: PrivatePkcs8KeyDer::from(key.serialize_der()) })
    }
}

impl Root {
    fn generate(now: Timestamp) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = root_params();
        params.not_before = offset(now - SKEW);
        params.not_after = offset(now + LIFETIME);
        let certificate = params.self_signed(&key)?;
        let certificate = Certificate::from_der(certificate.der())
            .ok_or(AuthorityError::Certificate(entry::CERTIFICATE))?;
        Ok(Root { certificate, key: key.serialize_pem() })
    }

    fn parse<'a>(
        entry: &impl Fn(&str) -> Option<&'a [u8]>,
        certificate_entry: &'static str,
        key_entry: &'static str,
    ) -> Result<Self, AuthorityError> {
        let pem = entry(certificate_entry).ok_or(AuthorityError::Missing(certificate_entry))?;
        let key = entry(key_entry).ok_or(AuthorityError::Missing(key_entry))?;
        let certificate = CertificateDer::from_pem_slice(pem)
            .ok()
            .and_then(|der| Certificate::from_der(&der))
            .ok_or(AuthorityError::Certificate(certificate_entry))?;
        let key = String::from_utf8(key.to_vec()).map_err(|_| AuthorityError::Key(key_entry))?;
        let root = Root { certificate, key };
        root.key_pair().map_err(|_| AuthorityError::Key(key_entry))?;
        Ok(root)
    }

    fn key_pair(&self) -> Result<KeyPair, rcgen::Error> {
        KeyPair::from_pkcs8_pem_and_sign_algo(&self.key, &PKCS_ED25519)
    }

    /// Nobody without the root's key can know it, and it tells nothing about the root's key.
    fn derived_key(&self, purpose: &str, names: &[String]) -> Result<KeyPair, AuthorityError> {
        let crypto = |_| AuthorityError::Crypto;
        let secret = self.key_pair()?;
        let names = names.join("\0");
        let context: [&[u8]; 3] = [purpose.as_bytes(), b"\0", names.as_bytes()];
        let mut seed = [0; 32];
        Salt::new(HKDF_SHA256, COMMON_NAME.as_bytes())
            .extract(secret.serialized_der())
            .expand(&context, HKDF_SHA256)
            .and_then(|key| key.fill(&mut seed))
            .map_err(crypto)?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| AuthorityError::Crypto)?;
        let document = key.to_pkcs8v1().map_err(crypto)?;
        let der = PrivatePkcs8KeyDer::from(document.as_ref());
        Ok(KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519)?)
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Root").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Certificate {
    fn from_der(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(der).ok()?;
        let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
        Some(Certificate {
            pem: pem(der),
            not_before: time(parsed.validity().not_before)?,
            not_after: time(parsed.validity().not_after)?,
        })
    }
}

fn root_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn pem(der: &CertificateDer<'_>) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + "-----END CERTIFICATE-----\n"
}

fn offset(time: Timestamp) -> OffsetDateTime {
    // Both count from -9999 to 9999.
    OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
