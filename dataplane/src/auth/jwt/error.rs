//! Why a credential is not accepted.

/// The texts go into `error_description`: they tell a client what to do and nothing of what is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("more than one credential")]
    Several,
    #[error("unknown credential")]
    Unknown,
    #[error("malformed token")]
    Malformed,
    #[error("algorithm not allowed")]
    Algorithm,
    #[error("unknown key")]
    Key,
    /// Keys are still to come; one of them may be the right one.
    #[error("keys not available")]
    Pending,
    #[error("bad signature")]
    Signature,
    #[error("token expired")]
    Expired,
    #[error("token not valid yet")]
    NotYet,
    #[error("bad claim")]
    Claim,
    #[error("wrong issuer")]
    Issuer,
    #[error("wrong audience")]
    Audience,
}
