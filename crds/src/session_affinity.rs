//! What keeps a client's requests together.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{CookieKey, HeaderKey};

/// Requests that share it go to the same backend and the same endpoint, on every dataplane, while both are there and fit;
/// else to the one that takes its place. A request that lacks it goes where it would without.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.cookie) != has(self.header)").message("give exactly one of cookie and header"))]
pub struct SessionAffinity {
    /// The value of a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieKey>,
    /// The first value of a request header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderKey>,
}
