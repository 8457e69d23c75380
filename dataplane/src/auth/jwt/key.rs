//! Keys that verify tokens, parsed once: parsing an RSA key costs as much as verifying with it.
//!
//! A key holds one check for each algorithm that it may be used with, so a token can't choose a way of verifying that
//! the key is not made for.

use std::fmt;

use aws_lc_rs::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RsaPublicKeyComponents,
    },
};
use gatehouse_proto::config::v1::JwtKey;

use super::{
    algorithm::{Algorithm, Needs},
    material::{Described, Material},
};

pub(super) struct Key {
    id: Option<Box<str>>,
    checks: Vec<(Algorithm, Check)>,
}

enum Check {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl Key {
    /// `allowed` comes from the policy. The error is a sentence that completes "the key can't be used: ".
    pub(super) fn compile(key: &JwtKey, allowed: &[Algorithm]) -> Result<Self, String> {
        let Described { material, id, algorithm } = Described::read(key)?;
        let mut checks = Vec::new();
        for allowed in allowed.iter().filter(|allowed| algorithm.is_none_or(|only| only == **allowed)) {
            if let Some(check) = Check::compile(&material, *allowed)? {
                checks.push((*allowed, check));
            }
        }
        if checks.is_empty() {
            let allowed: Vec<_> = allowed.iter().map(|allowed| allowed.name()).collect();
            return Err(format!("none of the algorithms {} fits it", allowed.join(", ")));
        }
        Ok(Key { id: id.map(String::into_boxed_str), checks })
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// `None`: the key is not for this algorithm.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<bool> {
        let (_, check) = self.checks.iter().find(|(of, _)| *of == algorithm)?;
        Some(match check {
            Check::Public(key) => key.verify_sig(message, signature).is_ok(),
            Check::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        })
    }
}

impl Check {
    fn compile(material: &Material, algorithm: Algorithm) -> Result<Option<Self>, String> {
        let public = match (algorithm.needs(), material) {
            (Needs::Secret(hmac), Material::Secret(secret)) => {
                // RFC 7518, 3.2.
                let least = hmac.digest_algorithm().output_len();
                if secret.len() < least {
                    let (name, length) = (algorithm.name(), secret.len());
                    return Err(format!("{name} needs a secret of {least} bytes or more, it has {length}"));
                }
                return Ok(Some(Check::Secret(Box::new(hmac::Key::new(hmac, secret)))));
            }
            (Needs::Rsa(parameters), Material::Rsa { n, e }) => {
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters)
            }
            (Needs::P256, Material::P256(point)) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
            (Needs::P384, Material::P384(point)) => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point),
            (Needs::Ed25519, Material::Ed25519(point)) => ParsedPublicKey::new(&ED25519, point),
            _ => return Ok(None),
        };
        public
            .map(|key| Some(Check::Public(key)))
            .map_err(|_| "its numbers are not those of a key".to_owned())
    }
}

/// Without anything that could verify or sign.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.checks.iter().map(|(algorithm, _)| algorithm.name()).collect();
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &algorithms).finish_non_exhaustive()
    }
}
