//! Who sends a request, and what the backend is told of it.

use std::{borrow::Cow, sync::Arc};

use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Invalid, consumer::Consumer, jwt::Claims};
use crate::http::headers::IDENTITY_PREFIX;

const X_CONSUMER_CREDENTIAL: HeaderName = HeaderName::from_static("x-consumer-credential");

#[derive(Debug, Default)]
pub(crate) struct Identity {
    consumer: Option<Arc<Consumer>>,
    /// `None`: anonymous.
    credential: Option<Arc<str>>,
    claims: Claims,
}

/// Which claims go into which headers, and whether the credential goes on.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    claims: Vec<(Vec<Box<str>>, HeaderName)>,
    credential: bool,
}

impl Forwarding {
    pub(super) fn compile(wire: Option<&v1::IdentityForwarding>) -> Result<Self, Invalid> {
        let Some(wire) = wire else { return Ok(Forwarding::default()) };
        let claims = wire
            .claims
            .iter()
            .map(|claim| {
                let name = HeaderName::from_bytes(claim.header.as_bytes())
                    .map_err(|_| Invalid(format!("identity.claims: {:?} is no header name", claim.header)))?;
                if name.as_str().starts_with(IDENTITY_PREFIX) {
                    return Err(Invalid(format!(
                        "identity.claims: {name} says who the consumer is: choose another"
                    )));
                }
                Ok((claim.claim.split('.').map(Box::from).collect(), name))
            })
            .collect::<Result<_, Invalid>>()?;
        Ok(Forwarding { claims, credential: wire.forward_credential })
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.claims.iter().map(|(_, name)| name)
    }

    pub(super) fn credential(&self) -> bool {
        self.credential
    }
}

impl Identity {
    pub(super) fn anonymous() -> Self {
        Identity::default()
    }

    pub(super) fn known(consumer: Arc<Consumer>, credential: Arc<str>) -> Self {
        Identity { consumer: Some(consumer), credential: Some(credential), claims: Claims::new() }
    }

    pub(super) fn of_token(consumer: Option<Arc<Consumer>>, credential: Arc<str>, claims: Claims) -> Self {
        Identity { consumer, credential: Some(credential), claims }
    }

    /// `namespace/name`.
    pub(crate) fn consumer(&self) -> Option<&Arc<str>> {
        self.consumer.as_ref().map(|consumer| &consumer.id)
    }

    pub(crate) fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    pub(crate) fn tier(&self) -> Option<&str> {
        self.consumer.as_ref().map(|consumer| &*consumer.tier).filter(|tier| !tier.is_empty())
    }

    /// A claim that no header can hold is left out.
    pub(super) fn write(&self, headers: &mut HeaderMap, forwarding: &Forwarding) {
        if let Some(consumer) = &self.consumer {
            for (name, value) in &consumer.headers {
                headers.insert(*name, value.clone());
            }
        }
        if let Some(Ok(value)) = self.credential.as_deref().map(HeaderValue::from_str) {
            headers.insert(X_CONSUMER_CREDENTIAL, value);
        }
        for (path, name) in &forwarding.claims {
            if let Some(Ok(value)) = claim(&self.claims, path).map(|text| HeaderValue::from_str(&text)) {
                headers.insert(name.clone(), value);
            }
        }
    }
}

/// Texts as they are, lists of plain values joined by commas, anything else as JSON.
fn claim<'a>(claims: &'a Claims, path: &[Box<str>]) -> Option<Cow<'a, str>> {
    let (first, rest) = path.split_first()?;
    let value = rest.iter().try_fold(claims.get(&**first)?, |value, name| value.get(&**name))?;
    Some(match value {
        Value::Null => return None,
        Value::String(text) => Cow::Borrowed(text),
        Value::Array(values) if values.iter().all(|value| !value.is_array() && !value.is_object()) => {
            let texts =
                values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            Cow::Owned(texts.collect::<Vec<_>>().join(","))
        }
        other => Cow::Owned(other.to_string()),
    })
}
