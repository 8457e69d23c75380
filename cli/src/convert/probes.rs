//! Requests that show whether both gateways do the same: one for each path of a route, and those of which the report says
//! that they go elsewhere.

use serde::{Deserialize, Serialize};

/// A request, as probes.json has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) id: String,
    /// The field of the input that it is about, and where that stands.
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) field: String,
    pub(crate) method: String,
    /// Absent: the one of the URL that it is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<(String, String)>,
    /// What the report says that changes. Empty: both should answer alike.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) changes: String,
}

impl Probe {
    /// In a sentence.
    pub(crate) fn shown(&self) -> String {
        let host = self.host.as_deref().unwrap_or("");
        let headers: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let headers = if headers.is_empty() { String::new() } else { format!(" ({})", headers.join(", ")) };
        format!("{} {host}{}{headers}", self.method, self.path)
    }

    /// Nothing is changed by sending it.
    pub(crate) fn is_safe(&self) -> bool {
        ["GET", "HEAD", "OPTIONS"].contains(&&*self.method)
    }
}
