//! A client that is known, and what backends are told of it.

use std::sync::Arc;

use gatehouse_proto::config::v1;
use http::{HeaderName, HeaderValue};

static ID: HeaderName = HeaderName::from_static("x-consumer-id");
static USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
static CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
static TIER: HeaderName = HeaderName::from_static("x-consumer-tier");
static GROUPS: HeaderName = HeaderName::from_static("x-consumer-groups");

#[derive(Debug)]
pub(crate) struct Consumer {
    /// `namespace/name`.
    pub(super) id: Arc<str>,
    /// Empty: none.
    pub(super) tier: Box<str>,
    /// What is not empty of `X-Consumer-*`.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Consumer {
    /// The error is a sentence.
    pub(super) fn compile(id: &str, wire: &v1::Consumer) -> Result<Self, String> {
        if let Some(group) = wire.groups.iter().find(|group| group.contains(',') || group.is_empty()) {
            return Err(format!("groups: {group:?} is empty or holds a comma, which separates groups"));
        }
        let groups = wire.groups.join(",");
        let headers = [
            (&ID, "metadata", id),
            (&USERNAME, "username", &wire.username),
            (&CUSTOM_ID, "customId", &wire.custom_id),
            (&TIER, "tier", &wire.tier),
            (&GROUPS, "groups", &groups),
        ];
        let headers = headers
            .into_iter()
            .filter(|(_, _, value)| !value.is_empty())
            .map(|(name, field, value)| {
                let value = HeaderValue::from_bytes(value.as_bytes())
                    .map_err(|_| format!("{field}: {value:?} holds a control character"))?;
                Ok((name.clone(), value))
            })
            .collect::<Result<_, String>>()?;
        Ok(Consumer { id: id.into(), tier: wire.tier.as_str().into(), headers })
    }
}
