//! Who sends a request, as far as its credential tells.

use std::{borrow::Cow, fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    certificate::ClientCertificate,
    consumer::Consumer,
    external::Granted,
    forward,
    jwt::{Claims, Token},
};
use crate::filter::ConsumerField;

static CREDENTIAL: HeaderName = HeaderName::from_static("x-consumer-credential");

#[derive(Default)]
pub(crate) struct Identity {
    consumer: Option<Arc<Consumer>>,
    /// `None`: anonymous.
    credential: Option<Arc<str>>,
    proof: Proof,
}

/// What tells more than the consumer's own object does.
#[derive(Default)]
enum Proof {
    #[default]
    None,
    Token(Arc<Token>),
    Certificate(Arc<ClientCertificate>),
    Answer(Arc<Granted>),
}

impl Identity {
    pub(crate) fn anonymous() -> Self {
        Identity::default()
    }

    pub(super) fn of_key(consumer: Arc<Consumer>, credential: Arc<str>) -> Self {
        Identity { consumer: Some(consumer), credential: Some(credential), proof: Proof::None }
    }

    pub(super) fn of_token(consumer: Option<Arc<Consumer>>, token: Arc<Token>) -> Self {
        Identity { consumer, credential: Some(Arc::clone(&token.credential)), proof: Proof::Token(token) }
    }

    pub(super) fn of_certificate(
        consumer: Option<Arc<Consumer>>,
        certificate: Arc<ClientCertificate>,
    ) -> Self {
        let credential = Some(Arc::clone(&certificate.credential));
        Identity { consumer, credential, proof: Proof::Certificate(certificate) }
    }

    pub(crate) fn of_answer(granted: Arc<Granted>) -> Self {
        let credential = Some(Arc::clone(&granted.credential));
        Identity { consumer: None, credential, proof: Proof::Answer(granted) }
    }

    /// What whoever admitted it wants the backend to have.
    pub(super) fn granted(&self) -> Option<&Granted> {
        match &self.proof {
            Proof::Answer(granted) => Some(granted),
            _ => None,
        }
    }

    /// Somebody else has admitted it, and has not said whom.
    pub(super) fn is_nameless(&self) -> bool {
        self.granted().is_some_and(Granted::is_nameless)
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

    /// `NAMESPACE/NAME#CREDENTIAL` of an API key or password, `jwt:ISSUER#SUBJECT` of a token, `certificate:NAME` of a
    /// certificate, `external:NAME` or `external` of what somebody else says.
    pub(crate) fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// The consumer, or else the credential.
    pub(crate) fn name(&self) -> Option<&str> {
        self.consumer().map(|consumer| &**consumer).or(self.credential())
    }

    pub(crate) fn tier(&self) -> Option<&str> {
        self.consumer.as_ref().map(|consumer| consumer.tier()).filter(|tier| !tier.is_empty())
    }

    pub(crate) fn groups(&self) -> &[Box<str>] {
        self.consumer.as_ref().map_or(&[], |consumer| &consumer.groups)
    }

    /// Of a token or certificate.
    pub(crate) fn claims(&self) -> Option<&Claims> {
        match &self.proof {
            Proof::None | Proof::Answer(_) => None,
            Proof::Token(token) => Some(&token.claims),
            Proof::Certificate(certificate) => Some(&certificate.claims),
        }
    }

    /// A claim that is a text, a number or a truth value, as text. Dots descend into objects.
    pub(crate) fn claim(&self, path: &str) -> Option<Cow<'_, str>> {
        forward::plain(self.claims()?, path)
    }

    /// `None`: it has none, or there is no consumer.
    pub(crate) fn of_consumer(&self, field: ConsumerField) -> Option<&[u8]> {
        self.consumer.as_ref()?.field(field)
    }

    /// Tells the backend in `X-Consumer-*`, which must be clear of what the client said.
    pub(crate) fn describe(&self, headers: &mut HeaderMap) {
        if let Some(consumer) = &self.consumer {
            consumer.describe(headers);
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
