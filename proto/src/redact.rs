//! Messages that hold secrets say so in debug output instead of showing them.

use std::fmt;

use crate::config::v1::{Batch, Certificate, Credential, IdentityToken, JwtKey, Redis, RedisSentinel};

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for IdentityToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityToken")
            .field("issuer", &self.issuer)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The URL may hold a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("timeout_ms", &self.timeout_ms).finish_non_exhaustive()
    }
}

/// What is encoded may be any of them.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("nonce", &self.nonce)
            .field("upserts", &self.upserts.len())
            .field("removals", &self.removals)
            .field("more", &self.more)
            .finish()
    }
}

impl fmt::Debug for RedisSentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSentinel").field("primary", &self.primary).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Certificate, Credential, IdentityToken, JwtKey, Redis, RedisSentinel};
    use crate::config::v1::{credential, jwt_key};

    #[test]
    fn no_secret_is_shown() {
        const SECRET: &str = "hush";
        let (text, bytes) = (SECRET.to_owned(), SECRET.as_bytes().to_vec());
        let shown = [
            format!("{:?}", Certificate { private_key: bytes.clone(), ..Certificate::default() }),
            format!("{:?}", JwtKey { kind: Some(jwt_key::Kind::Secret(bytes.clone())), ..JwtKey::default() }),
            format!(
                "{:?}",
                Credential {
                    kind: Some(credential::Kind::ApiKeySha256(bytes.clone())),
                    ..Credential::default()
                }
            ),
            format!("{:?}", IdentityToken { key: bytes.clone(), ..IdentityToken::default() }),
            format!("{:?}", Redis { url: text.clone(), ..Redis::default() }),
            format!("{:?}", RedisSentinel { password: text, ..RedisSentinel::default() }),
            format!("{:?}", Batch { upserts: vec![bytes.clone().into()], ..Batch::default() }),
        ];
        for shown in shown {
            assert!(!shown.contains(SECRET) && !shown.contains(&format!("{bytes:?}")), "{shown}");
        }
    }
}
