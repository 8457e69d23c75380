//! User names and passwords (RFC 7617).
//!
//! What is known of a password is a hash of it with the name, which the credential is found by: no answer comes sooner or
//! later for a name that nobody has.

use std::str;

use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::consumer::Hash;

/// Of base64. Longer credentials are refused unread.
const CREDENTIAL_BYTES: usize = 1024;
/// What base64 of that length holds.
const DECODED_BYTES: usize = CREDENTIAL_BYTES / 4 * 3;

/// What a credential is found by, if it can be one.
pub(super) fn hash(credential: &str) -> Option<Hash> {
    if credential.len() > CREDENTIAL_BYTES {
        return None;
    }
    let mut decoded = [0; DECODED_BYTES];
    let length = STANDARD.decode_slice(credential, &mut decoded).ok()?;
    // The first colon ends the name; the password may hold more.
    let (user, password) = str::from_utf8(&decoded[..length]).ok()?.split_once(':')?;
    let mut context = Context::new(&SHA256);
    // Where one ends and the other begins is part of it.
    context.update(&(user.len() as u64).to_be_bytes());
    context.update(user.as_bytes());
    context.update(password.as_bytes());
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    Some(hash)
}
