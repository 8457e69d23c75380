//! Names a count: a digest over an encoding in which no two sequences of fields are the same bytes.
//!
//! Values are hashed and never stored: header values may be long or secret, and a count must cost the same for each.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

/// The first 128 bits of SHA-256: enough that two counts never meet by chance.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

/// What a field is, so that a consumer `a` and a header value `a` differ.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Field {
    Policy = 1,
    Limit,
    Algorithm,
    Tier,
    Route,
    Consumer,
    Credential,
    Client,
    Header,
    Cookie,
    Query,
    Path,
    Host,
    Method,
    Claim,
}

/// Fields in order, each as tag, length and bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Encoded(Vec<u8>);

impl Encoded {
    pub(super) fn with(mut self, field: Field, value: &[u8]) -> Encoded {
        self.add(field, value);
        self
    }

    pub(super) fn add(&mut self, field: Field, value: &[u8]) {
        self.0.push(field as u8);
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value);
    }

    pub(super) fn key(&self) -> Key {
        let digest = digest(&SHA256, &self.0);
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Key(key)
    }
}

impl Key {
    /// Some of its bits.
    pub(super) fn spread(&self) -> usize {
        usize::from(self.0[0])
    }
}

/// Hexadecimal.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Encoded, Field};

    #[test]
    fn no_two_sequences_share_a_key() {
        let sequences: &[&[(Field, &str)]] = &[
            &[],
            &[(Field::Header, "")],
            &[(Field::Header, "abc")],
            &[(Field::Header, "a"), (Field::Header, "bc")],
            &[(Field::Header, "ab"), (Field::Header, "c")],
            &[(Field::Header, "ab"), (Field::Header, ""), (Field::Header, "c")],
            &[(Field::Header, "abc"), (Field::Header, "")],
            &[(Field::Consumer, "abc")],
            &[(Field::Credential, "abc")],
            &[(Field::Client, "abc")],
            &[(Field::Header, "a\u{9}\u{1}\0\0\0\0\0\0\0b")],
            &[(Field::Header, "a"), (Field::Header, "b")],
        ];
        let keys: HashSet<String> = sequences
            .iter()
            .map(|fields| {
                let encoded = fields.iter().fold(Encoded::default(), |encoded, (field, value)| {
                    encoded.with(*field, value.as_bytes())
                });
                encoded.key().to_string()
            })
            .collect();
        assert_eq!(keys.len(), sequences.len());
        assert!(keys.iter().all(|key| key.len() == 32));
    }
}
