//! A JWKS document that somebody wants.

use std::{fmt::Write, time::Duration};

use aws_lc_rs::digest::{Context, SHA256};

/// Where it is, and who must have signed the server's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub url: String,
    /// From one fetch to the next.
    pub interval: Duration,
    /// DER. Empty: the public authorities, and those of the system.
    pub roots: Vec<Vec<u8>>,
}

impl Wanted {
    /// By what it is known: the URL, and a hash of the authorities if there are any. What one of them was allowed to say is
    /// not what another says.
    pub fn id(&self) -> String {
        if self.roots.is_empty() {
            return self.url.clone();
        }
        let mut hash = Context::new(&SHA256);
        for root in &self.roots {
            hash.update(&(root.len() as u64).to_be_bytes());
            hash.update(root);
        }
        let mut id = format!("{} ", self.url);
        for byte in &hash.finish().as_ref()[..8] {
            // A String takes whatever is written.
            let _ = write!(id, "{byte:02x}");
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    #[test]
    fn authorities_are_part_of_what_is_wanted() {
        let of = |roots: &[&[u8]]| {
            let roots = roots.iter().map(|root| root.to_vec()).collect();
            Wanted { url: "https://i/jwks".into(), roots, ..Wanted::default() }.id()
        };
        assert_eq!(of(&[]), "https://i/jwks");
        let all = [of(&[]), of(&[b"a"]), of(&[b"b"]), of(&[b"a", b"b"]), of(&[b"ab"]), of(&[b"b", b"a"])];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "{one}");
        }
    }
}
