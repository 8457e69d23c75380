//! What a consumer is known by, and from when until when.

use std::{fmt, sync::Arc};

use aws_lc_rs::digest;
use gatehouse_proto::config::v1::{self, JwtSubject, certificate_name, credential::Kind};

use crate::auth::{UnixMillis, certificate::CertificateName};

pub(in crate::auth) type Hash = [u8; 32];

#[derive(Debug)]
pub(in crate::auth) struct Credential {
    /// `namespace/name#credential`.
    pub(in crate::auth) name: Arc<str>,
    not_before: UnixMillis,
    /// 0: never.
    expires: UnixMillis,
    pub(in crate::auth) kind: CredentialKind,
}

pub(in crate::auth) enum CredentialKind {
    /// Only hashes are known, so nothing that is kept could be presented as a key.
    ApiKey(Hash),
    Password(Hash),
    Certificate(CertificateName),
    Token {
        issuer: Box<str>,
        subject: Box<str>,
    },
}

impl Credential {
    /// The error is a sentence.
    pub(super) fn compile(consumer: &str, wire: &v1::Credential) -> Result<Self, String> {
        Ok(Credential {
            name: format!("{consumer}#{}", wire.name).into(),
            not_before: wire.not_before_ms,
            expires: wire.expires_ms,
            kind: CredentialKind::compile(wire.kind.as_ref())?,
        })
    }

    pub(in crate::auth) fn is_in_force(&self, now: UnixMillis) -> bool {
        now >= self.not_before && (self.expires == 0 || now < self.expires)
    }

    /// Of a key or password.
    pub(in crate::auth) fn hash(&self) -> Option<&Hash> {
        match &self.kind {
            CredentialKind::ApiKey(hash) | CredentialKind::Password(hash) => Some(hash),
            CredentialKind::Certificate(_) | CredentialKind::Token { .. } => None,
        }
    }
}

impl CredentialKind {
    fn compile(wire: Option<&Kind>) -> Result<Self, String> {
        let hash = |bytes: &[u8]| {
            let hash = Hash::try_from(bytes).map_err(|_| "its hash does not have 32 bytes".to_owned())?;
            if hash == sha256("") { Err("the key is empty".to_owned()) } else { Ok(hash) }
        };
        match wire {
            Some(Kind::ApiKeySha256(bytes)) => Ok(CredentialKind::ApiKey(hash(bytes)?)),
            Some(Kind::PasswordSha256(bytes)) => Ok(CredentialKind::Password(hash(bytes)?)),
            Some(Kind::Certificate(name)) => Ok(CredentialKind::Certificate(certificate(name)?)),
            Some(Kind::Jwt(JwtSubject { issuer, subject })) if issuer.is_empty() || subject.is_empty() => {
                Err("give an issuer and a subject".into())
            }
            Some(Kind::Jwt(JwtSubject { issuer, subject })) => {
                Ok(CredentialKind::Token { issuer: issuer.as_str().into(), subject: subject.as_str().into() })
            }
            None => Err("this dataplane does not know its kind".into()),
        }
    }
}

fn certificate(wire: &v1::CertificateName) -> Result<CertificateName, String> {
    match &wire.kind {
        Some(certificate_name::Kind::Dns(name)) => Ok(CertificateName::Dns(name.to_ascii_lowercase().into())),
        Some(certificate_name::Kind::Uri(name)) => Ok(CertificateName::Uri(name.as_str().into())),
        Some(certificate_name::Kind::Email(name)) => Ok(CertificateName::Email(name.as_str().into())),
        Some(certificate_name::Kind::Subject(name)) => Ok(CertificateName::Subject(name.as_str().into())),
        None => Err("this dataplane does not know its kind of name".into()),
    }
}

pub(in crate::auth) fn sha256(key: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    hash
}

/// Without the hashes: a short key could be guessed from one.
impl fmt::Debug for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CredentialKind::ApiKey(_) => "ApiKey",
            CredentialKind::Password(_) => "Password",
            CredentialKind::Certificate(_) => "Certificate",
            CredentialKind::Token { .. } => "Token",
        })
    }
}
