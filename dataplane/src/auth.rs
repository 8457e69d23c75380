//! Who sends a request, and whether it may: checks its credential against a policy and says what the backend may know.
//!
//! Pure: configuration, header fields, query, address, certificate and the time go in, an identity or a refusal comes out.
//!
//! The methods of a policy are tried in their order; the first that finds its credential in the request decides, whatever
//! else the request holds. Within one method a second credential, be it in another place or twice in one, is refused:
//! nobody can say which one counts. Of several JWT methods the one that has the token's issuer decides.

mod authorization;
mod basic;
mod cache;
mod certificate;
mod claims;
mod consumer;
mod consumers;
mod external;
mod forward;
mod identity;
mod jwt;
mod method;
mod networks;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod told;
mod wanted_keys;

use std::{net::IpAddr, sync::Arc};

use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use source::cookie_values;
use {
    authorization::{Authorization, Verdict},
    forward::ClaimHeaders,
    jwt::{Signer, TokenError},
    method::{Kind, Method},
    source::{Found, Source},
};
pub(crate) use {
    cache::TokenCache,
    certificate::ClientCertificate,
    consumers::{Consumers, Register},
    external::{Answer, AnswerCache, Asker, External},
    forward::plain as plain_claim,
    identity::Identity,
    jwt::{Claims, Verifier as TokenVerifier},
    told::Told,
    wanted_keys::WantedKeys,
};

/// Unix time in milliseconds.
pub(crate) type UnixMillis = i64;

/// A compiled `AuthConfig`.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// Of its resource.
    name: Box<str>,
    namespace: Box<str>,
    methods: Vec<Method>,
    allow_anonymous: bool,
    authorization: Authorization,
    claims: ClaimHeaders,
    signer: Option<Signer>,
    forward_credential: bool,
    broken: bool,
}

/// Why a policy can't be compiled: a sentence that names the field.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(String);

/// Where a credential may stand, and what else tells who asks. Deliberately without `Debug`.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
    /// As far as trusted proxies tell.
    pub(crate) client: IpAddr,
    /// Verified, by whom the listener trusts now.
    pub(crate) certificate: Option<&'a Arc<ClientCertificate>>,
}

#[derive(Debug)]
pub(crate) enum Refusal {
    /// 401 with these `WWW-Authenticate` fields.
    Unauthenticated(Vec<HeaderValue>),
    /// The same, unless the key that the token names comes from this URL after all.
    UnknownKey { jwks: Box<str>, challenges: Vec<HeaderValue> },
    /// Somebody else is to be asked: [`Policy::external`].
    Elsewhere,
    /// 403, for this consumer if it is one.
    Forbidden(Option<Arc<str>>),
    /// The policy can't be enforced now: 503.
    Unavailable,
}

impl Policy {
    /// A policy that says of itself that it is broken compiles, and refuses everything.
    pub(crate) fn compile(config: &v1::AuthConfig) -> Result<Self, Invalid> {
        if !config.broken.is_empty() {
            return Ok(Policy { broken: true, ..Policy::default() });
        }
        let methods = config.any_of.iter().map(Method::compile).collect::<Result<Vec<_>, _>>()?;
        let externals = methods.iter().filter(|method| matches!(method.kind, Kind::External(_))).count();
        let is_last = methods.last().is_some_and(|method| matches!(method.kind, Kind::External(_)));
        if externals > usize::from(is_last) || (externals > 0 && config.allow_anonymous) {
            return Err(Invalid(
                "anyOf: external stands alone at the end, and decides about strangers".into(),
            ));
        }
        let authorization = Authorization::compile(config)?;
        if methods.is_empty() && !config.allow_anonymous {
            return Err(Invalid("anyOf: name at least one method".into()));
        }
        if methods.is_empty() && authorization.is_empty() {
            return Err(Invalid("without anyOf the policy needs authorize or denyClientIPs".into()));
        }
        let is_source =
            |name: &_| methods.iter().flat_map(Method::sources).any(|source| source.is_header(name));
        let told = config.identity.as_ref();
        let claims = ClaimHeaders::compile(told.map_or(&[], |told| &told.claims), is_source)?;
        let signer = told.and_then(|told| told.token.as_ref());
        let is_taken = |name: &_| is_source(name) || claims.headers().any(|claimed| claimed == name);
        let signer = signer.map(|token| Signer::compile(token, is_taken)).transpose()?;
        Ok(Policy {
            name: Box::default(),
            namespace: config.namespace.as_str().into(),
            claims,
            signer,
            methods,
            allow_anonymous: config.allow_anonymous,
            authorization,
            forward_credential: told.is_some_and(|told| told.forward_credential),
            broken: false,
        })
    }

    #[must_use]
    pub(crate) fn named(self, name: &str) -> Self {
        Policy { name: name.into(), ..self }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// It may come to know more keys.
    pub(crate) fn has_jwks(&self) -> bool {
        let mut methods = self.methods.iter();
        methods.any(|method| matches!(&method.kind, Kind::Jwt(verifier) if verifier.jwks().is_some()))
    }

    /// Authenticates and authorizes.
    pub(crate) fn admit(
        &self,
        consumers: &Consumers,
        tokens: &mut TokenCache,
        request: Request<'_>,
        now: UnixMillis,
    ) -> Result<Identity, Refusal> {
        if self.broken {
            return Err(Refusal::Unavailable);
        }
        if self.authorization.denies(request.client) {
            return Err(Refusal::Forbidden(None));
        }
        let identity = self.authenticate(consumers, tokens, request, now)?;
        self.authorize(identity, request.client)
    }

    /// Who is to be asked about what no other method decides.
    pub(crate) fn external(&self) -> Option<&Arc<External>> {
        match &self.methods.last()?.kind {
            Kind::External(external) => Some(external),
            _ => None,
        }
    }

    /// Whether who is known may pass.
    pub(crate) fn authorize(&self, identity: Identity, client: IpAddr) -> Result<Identity, Refusal> {
        match self.authorization.judge(&identity, client) {
            Verdict::Admitted => Ok(identity),
            // A credential could help.
            Verdict::Unknown if !self.methods.is_empty() => Err(self.refuse(None)),
            Verdict::Unknown | Verdict::Refused => Err(Refusal::Forbidden(identity.consumer().cloned())),
        }
    }

    fn authenticate(
        &self,
        consumers: &Consumers,
        tokens: &mut TokenCache,
        request: Request<'_>,
        now: UnixMillis,
    ) -> Result<Identity, Refusal> {
        let mut is_of_other_issuer = false;
        for method in &self.methods {
            // A token was found, so nothing but a token decides.
            if is_of_other_issuer && !method.is_jwt() {
                continue;
            }
            if let (Kind::ClientCertificate, Some(certificate)) = (&method.kind, request.certificate) {
                let identity = consumers.by_certificate(&self.namespace, certificate);
                return identity.ok().filter(|_| !certificate.is_over(now)).ok_or_else(|| self.refuse(None));
            }
            let credential = match source::find(method.sources(), request) {
                Found::Nothing => continue,
                Found::Several => return Err(self.refuse(method.is_jwt().then_some(TokenError::Several))),
                Found::One(credential) => credential,
            };
            let verifier = match &method.kind {
                Kind::Jwt(verifier) => verifier,
                Kind::ApiKey => {
                    let identity = consumers.by_key(&self.namespace, &credential, now);
                    return identity.ok_or_else(|| self.refuse(None));
                }
                Kind::Basic => {
                    let hash = basic::hash(&credential);
                    let identity = hash.and_then(|hash| consumers.by_password(&self.namespace, &hash, now));
                    return identity.ok_or_else(|| self.refuse(None));
                }
                // They stand nowhere in the request.
                Kind::ClientCertificate | Kind::External(_) => continue,
            };
            let token = tokens.verify(verifier, &credential, now);
            match token.and_then(|token| consumers.by_token(&self.namespace, token, now)) {
                Ok(identity) => return Ok(identity),
                Err(TokenError::Issuer) => is_of_other_issuer = true,
                Err(TokenError::Pending) => return Err(Refusal::Unavailable),
                Err(error) => {
                    let refusal = self.refuse(Some(error));
                    let jwks = verifier.jwks().filter(|_| error == TokenError::Key);
                    return Err(match (refusal, jwks) {
                        (Refusal::Unauthenticated(challenges), Some(jwks)) => {
                            Refusal::UnknownKey { jwks: jwks.into(), challenges }
                        }
                        (refusal, _) => refusal,
                    });
                }
            }
        }
        if is_of_other_issuer {
            return Err(self.refuse(Some(TokenError::Issuer)));
        }
        if self.external().is_some() {
            return Err(Refusal::Elsewhere);
        }
        if self.allow_anonymous { Ok(Identity::anonymous()) } else { Err(self.refuse(None)) }
    }

    /// Fields that only this policy may set: a client's own copies must go, under every spelling.
    pub(crate) fn owned_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let granted = self.external().into_iter().flat_map(|external| external.owned_headers());
        self.claims.headers().chain(granted).chain(self.signer.as_ref().map(Signer::header))
    }

    /// Fields in which it tells the backend who asks, but for the token that it signs, which is another each time.
    fn told_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.claims.headers()
    }

    /// Writes the claims that backends may see and the token that the policy signs, and takes the credentials of all methods out unless the policy forwards
    /// them. Gives the query without them, if it held one.
    pub(crate) fn apply(
        &self,
        identity: &Identity,
        headers: &mut HeaderMap,
        query: Option<&str>,
        now: UnixMillis,
    ) -> Option<String> {
        let stripped = if self.forward_credential {
            None
        } else {
            source::strip(self.methods.iter().flat_map(Method::sources), headers, query)
        };
        if let Some(granted) = identity.granted() {
            granted.apply(headers);
        }
        if let Some(claims) = identity.claims() {
            self.claims.write(claims, headers);
        }
        if let Some(signer) = &self.signer {
            signer.write(identity, headers, now);
        }
        stripped
    }

    /// One challenge a kind of method. What is wrong with a token is told by the challenge of its kind (RFC 6750, 3.1).
    fn refuse(&self, of_token: Option<TokenError>) -> Refusal {
        let mut schemes: Vec<&'static str> = Vec::new();
        for method in &self.methods {
            if !schemes.contains(&method.challenge()) {
                schemes.push(method.challenge());
            }
        }
        let challenge = |scheme: &'static str| match of_token {
            Some(error) if scheme == method::BEARER => {
                let text = format!("{scheme}, error=\"invalid_token\", error_description=\"{error}\"");
                HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(scheme))
            }
            _ => HeaderValue::from_static(scheme),
        };
        Refusal::Unauthenticated(schemes.into_iter().map(challenge).collect())
    }
}
