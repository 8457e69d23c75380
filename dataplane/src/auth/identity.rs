//! Who sends a request, as far as its credential tells.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    consumer::Consumer,
    jwt::{Claims, Token},
};

static CREDENTIAL: HeaderName = HeaderName::from_static("x-consumer-credential");

#[derive(Default)]
pub(crate) struct Identity {
    consumer: Option<Arc<Consumer>>,
    /// `None`: anonymous.
    credential: Option<Arc<str>>,
    token: Option<Arc<Token>>,
}

impl Identity {
    pub(super) fn anonymous() -> Self {
        Identity::default()
    }

    pub(super) fn of_key(consumer: Arc<Consumer>, credential: Arc<str>) -> Self {
        Identity { consumer: Some(consumer), credential: Some(credential), token: None }
    }

    pub(super) fn of_token(consumer: Option<Arc<Consumer>>, token: Arc<Token>) -> Self {
        Identity { consumer, credential: Some(Arc::clone(&token.credential)), token: Some(token) }
    }

    /// Of several policies that admit a request, each by its own credential, the last that knows a consumer says who it
    /// is, else the last that knows anything. `None`: anonymous.
    pub(crate) fn most_telling(all: Vec<Identity>) -> Option<Identity> {
        let told = all.into_iter().filter(|identity| identity.credential.is_some());
        told.max_by_key(|identity| identity.consumer.is_some())
    }

    /// `namespace/name`.
    pub(crate) fn consumer(&self) -> Option<&Arc<str>> {
        self.consumer.as_ref().map(|consumer| &consumer.id)
    }

    /// `NAMESPACE/NAME#CREDENTIAL` of an API key, `jwt:ISSUER#SUBJECT` of a token.
    pub(crate) fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    pub(crate) fn tier(&self) -> Option<&str> {
        self.consumer.as_ref().map(|consumer| &*consumer.tier).filter(|tier| !tier.is_empty())
    }

    pub(super) fn claims(&self) -> Option<&Claims> {
        self.token.as_ref().map(|token| &token.claims)
    }

    /// Tells the backend in `X-Consumer-*`, which must be clear of what the client said.
    pub(crate) fn describe(&self, headers: &mut HeaderMap) {
        for (name, value) in self.consumer.iter().flat_map(|consumer| &consumer.headers) {
            headers.insert(name.clone(), value.clone());
        }
        let credential =
            self.credential.as_deref().map(|credential| HeaderValue::from_bytes(credential.as_bytes()));
        if let Some(Ok(value)) = credential {
            headers.insert(CREDENTIAL.clone(), value);
        }
    }
}

/// Claims are about people.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("consumer", &self.consumer())
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}
