//! Somebody else who says whether a request may pass: what it is told, and what its answer means.
//!
//! Pure: [`crate::http`] sends the question.

mod cache;
mod grant;
mod grpc;
mod plain;

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use gatehouse_proto::config::v1;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, Version,
    header::{AUTHORIZATION, COOKIE, HOST},
    uri::PathAndQuery,
};

use super::Invalid;
use crate::http::headers;

pub(crate) use {cache::AnswerCache, grant::Granted};

static METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
static URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

#[derive(Debug)]
pub(crate) struct External {
    /// Name of its resource.
    pub(crate) service: Box<str>,
    pub(crate) host: HeaderValue,
    pub(crate) path: PathAndQuery,
    pub(crate) method: Method,
    pub(crate) timeout: Duration,
    /// `ZERO`: answers hold for one request.
    pub(crate) cached_for: Duration,
    pub(crate) allow_on_failure: bool,
    speaks: Speaks,
    /// Of gRPC, none: all.
    forward: Vec<HeaderName>,
    /// Of gRPC, none: all that an answer has.
    copy: Vec<HeaderName>,
    identity: Option<HeaderName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http,
    Grpc,
}

/// What gRPC is told of a client beyond the fields of its request.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Asker<'a> {
    /// As far as trusted proxies tell.
    pub(crate) client: IpAddr,
    pub(crate) version: Version,
    /// The name of its verified certificate.
    pub(crate) certificate: Option<&'a str>,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Admitted(Arc<Granted>),
    /// 401 or a way to a login: the client gets what was answered.
    Unauthenticated(Box<Response<Bytes>>),
    /// The client gets what was answered.
    Forbidden(Box<Response<Bytes>>),
    /// Refused in a way that is no answer for clients.
    Denied,
    /// It is neither.
    Failure,
}

impl External {
    pub(super) fn http(wire: &v1::ExternalAuth) -> Result<Self, Invalid> {
        let path = PathAndQuery::try_from(wire.path.as_str());
        let path = path.map_err(|_| Invalid("external.path: it is no path".into()))?;
        let method = if wire.head { Method::HEAD } else { Method::GET };
        let external = Self::compile(wire, Speaks::Http, path, method)?;
        let of_credentials = [AUTHORIZATION, COOKIE];
        match external.copy.iter().find(|name| of_credentials.contains(name)) {
            Some(name) => Err(Invalid(format!("external.copyHeaders: header {name} has another meaning"))),
            None => Ok(external),
        }
    }

    pub(super) fn grpc(wire: &v1::ExternalAuth) -> Result<Self, Invalid> {
        Self::compile(wire, Speaks::Grpc, grpc::path(), Method::POST)
    }

    fn compile(
        wire: &v1::ExternalAuth,
        speaks: Speaks,
        path: PathAndQuery,
        method: Method,
    ) -> Result<Self, Invalid> {
        let invalid = |what: &str| Invalid(format!("external.{what}"));
        let names = |field: &str, names: &[String]| {
            let name = |name: &String| HeaderName::from_bytes(name.as_bytes());
            names.iter().map(name).collect::<Result<Vec<_>, _>>().map_err(|_| invalid(field))
        };
        let copy = names("copyHeaders: not all are header names", &wire.copy_headers)?;
        let is_taken = |name: &HeaderName| headers::is_ours(name) || *name == HOST;
        if let Some(name) = copy.iter().find(|name| is_taken(name)) {
            return Err(Invalid(format!("external.copyHeaders: header {name} has another meaning")));
        }
        let forward = names("forwardHeaders: not all are header names", &wire.forward_headers)?;
        if let Some(name) = forward.iter().find(|name| is_taken(name)) {
            return Err(Invalid(format!("external.forwardHeaders: the gateway itself sets {name}")));
        }
        let identity = (!wire.identity_header.is_empty()).then_some(&wire.identity_header);
        Ok(External {
            service: wire.service.as_str().into(),
            host: HeaderValue::try_from(wire.host.as_str()).map_err(|_| invalid("host: it is no host"))?,
            path,
            method,
            timeout: Duration::from_millis(wire.timeout_ms.into()),
            cached_for: Duration::from_millis(wire.cache_ms.into()),
            allow_on_failure: wire.allow_on_failure,
            speaks,
            forward,
            copy,
            identity: identity
                .map(|name| HeaderName::from_bytes(name.as_bytes()))
                .transpose()
                .map_err(|_| invalid("identityHeader: it is no header name"))?,
        })
    }

    fn is_grpc(&self) -> bool {
        self.speaks == Speaks::Grpc
    }

    /// Fields that only it may set.
    pub(super) fn owned_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.copy.iter()
    }

    /// The fields of the question. `headers` are those of the request, with what the gateway says of its way.
    pub(crate) fn question(&self, method: &Method, target: &str, headers: &HeaderMap) -> HeaderMap {
        let mut told = HeaderMap::new();
        let of_way = [
            headers::X_FORWARDED_FOR,
            headers::X_FORWARDED_PROTO,
            headers::X_FORWARDED_HOST,
            headers::X_FORWARDED_PORT,
            headers::X_REQUEST_ID,
        ];
        if self.is_grpc() && self.forward.is_empty() {
            told.clone_from(headers);
            told.remove(HOST);
        } else {
            for name in self.forward.iter().chain(&of_way) {
                for value in headers.get_all(name) {
                    told.append(name.clone(), value.clone());
                }
            }
        }
        if let Ok(value) = HeaderValue::from_str(method.as_str()) {
            told.insert(METHOD.clone(), value);
        }
        if let Ok(value) = HeaderValue::from_str(target) {
            told.insert(URI.clone(), value);
        }
        told
    }

    /// The question as a message, which stands in a body. `None`: its fields are all of it.
    pub(crate) fn message(&self, told: &HeaderMap, asker: &Asker<'_>) -> Option<Bytes> {
        match self.speaks {
            Speaks::Http => None,
            Speaks::Grpc => Some(grpc::message(told, asker)),
        }
    }

    pub(crate) fn judge(&self, answer: Response<Bytes>, trailers: Option<&HeaderMap>) -> Answer {
        match self.speaks {
            Speaks::Http => plain::judge(self, answer),
            Speaks::Grpc => grpc::judge(self, &answer, trailers).unwrap_or(Answer::Failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_proto::config::v1::ExternalAuth;
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::External;

    pub(super) fn wire() -> ExternalAuth {
        ExternalAuth {
            host: "authz.ns.svc:80".into(),
            path: "/verify".into(),
            forward_headers: vec!["Authorization".into(), "X-Tenant".into()],
            copy_headers: vec!["X-Auth-User".into(), "X-Auth-Roles".into()],
            identity_header: "X-Auth-User".into(),
            timeout_ms: 100,
            ..ExternalAuth::default()
        }
    }

    pub(super) fn compiled(change: impl FnOnce(&mut ExternalAuth)) -> Result<External, String> {
        let mut wire = wire();
        change(&mut wire);
        External::http(&wire).map_err(|invalid| invalid.to_string())
    }

    pub(super) fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn it_is_told_what_it_is_to_be_told_and_no_more() {
        let request = headers(&[
            ("authorization", "Bearer x"),
            ("cookie", "secret"),
            ("x-tenant", "a"),
            ("x-tenant", "b"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "https"),
            ("content-type", "text/plain"),
        ]);
        let told = compiled(|_| {}).unwrap().question(&Method::POST, "/orders?x=1", &request);
        let wanted = headers(&[
            ("authorization", "Bearer x"),
            ("x-tenant", "a"),
            ("x-tenant", "b"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-method", "POST"),
            ("x-forwarded-uri", "/orders?x=1"),
        ]);
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_has_another_meaning_does_not_compile() {
        for name in
            ["Host", "Content-Length", "X-Consumer-Username", "Authorization", "X-Forwarded-For", "a b"]
        {
            assert!(compiled(|wire| wire.copy_headers = vec![name.into()]).is_err(), "{name}");
        }
        for name in ["Host", "Content-Length", "Transfer-Encoding", "X-Forwarded-For", ""] {
            assert!(compiled(|wire| wire.forward_headers = vec![name.into()]).is_err(), "{name}");
        }
        assert!(compiled(|wire| wire.path = "a b".into()).is_err());
        assert!(compiled(|wire| wire.host = "a\nb".into()).is_err());
    }
}
