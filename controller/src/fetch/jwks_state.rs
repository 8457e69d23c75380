//! What is known of one JWKS URL: a value that enters `Resources` beside the watched objects.

use jiff::Timestamp;

/// The keys behind a URL, as last seen by one set of authorities.
///
/// `document` and `error` are independent: after a failed fetch the last good document stays, and the error says why it
/// is old.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JwksState {
    /// The last good document: JSON with an array `keys` (RFC 7517 section 5). `None`: none was ever read.
    pub document: Option<String>,
    /// When `document` was last confirmed by the URL.
    pub fetched_at: Option<Timestamp>,
    /// Why the last fetch failed, as a sentence for the user. `None`: it did not fail, or has not ended yet.
    pub error: Option<String>,
}
