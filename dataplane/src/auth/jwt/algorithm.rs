//! The signature algorithms that a policy may list (RFC 7518, 3.1; RFC 8037), and what each needs of a key.
//!
//! `none` is not among them, so no policy and no token can ask for it.

use aws_lc_rs::{
    hmac,
    signature::{self, RsaParameters},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// The kind of key that an algorithm works with. A key of another kind is never used for it.
pub(super) enum Needs {
    Secret(hmac::Algorithm),
    /// 2048 to 8192 bits.
    Rsa(&'static RsaParameters),
    P256,
    P384,
    Ed25519,
}

const NAMES: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::Hs256),
    ("HS384", Algorithm::Hs384),
    ("HS512", Algorithm::Hs512),
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
];

impl Algorithm {
    /// Names are compared with case (RFC 7515, 4.1.1).
    pub(super) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, algorithm)| *algorithm == self).map_or("", |(name, _)| name)
    }

    pub(super) fn needs(self) -> Needs {
        match self {
            Algorithm::Hs256 => Needs::Secret(hmac::HMAC_SHA256),
            Algorithm::Hs384 => Needs::Secret(hmac::HMAC_SHA384),
            Algorithm::Hs512 => Needs::Secret(hmac::HMAC_SHA512),
            Algorithm::Rs256 => Needs::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => Needs::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => Needs::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => Needs::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => Needs::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => Needs::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => Needs::P256,
            Algorithm::Es384 => Needs::P384,
            Algorithm::EdDsa => Needs::Ed25519,
        }
    }
}
