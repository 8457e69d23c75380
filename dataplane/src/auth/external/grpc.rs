//! Envoy's external authorization protocol: a question as a message, and what the message that answers it means.
//!
//! What contradicts itself, and what can't be put into HTTP, is no answer.

use bytes::Bytes;
use gatehouse_proto::ext_authz::v3::{
    self, Address, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption,
    OkHttpResponse, SocketAddress, address, attribute_context, check_response::HttpResponse,
    header_value_option::HeaderAppendAction, socket_address,
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST},
    uri::PathAndQuery,
};

use super::{
    Answer, Asker, External, METHOD, URI,
    grant::{Edit, Granted, How},
};
use crate::http::{
    grpc,
    headers::{self, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REQUEST_ID},
};

/// `google.rpc.Code`.
const OK: i32 = 0;

pub(super) fn path() -> PathAndQuery {
    PathAndQuery::from_static("/envoy.service.auth.v3.Authorization/Check")
}

/// `told`: what [`External::question`] gives.
pub(super) fn message(told: &HeaderMap, asker: &Asker<'_>) -> Bytes {
    let text = |name: &HeaderName| {
        told.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
    };
    let size = told.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let names = told.keys().filter(|name| **name != METHOD && **name != URI);
    let headers = names.map(|name| {
        let values: Vec<_> =
            told.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        // RFC 6265 and RFC 9113, 8.2.3: pieces of cookies are no list.
        let separator = if *name == http::header::COOKIE { "; " } else { "," };
        (name.as_str().to_owned(), values.join(separator))
    });
    let http = attribute_context::HttpRequest {
        id: text(&X_REQUEST_ID),
        method: text(&METHOD),
        headers: headers.collect(),
        path: text(&URI),
        host: text(&X_FORWARDED_HOST),
        scheme: text(&X_FORWARDED_PROTO),
        size: size.unwrap_or(-1),
        protocol: match asker.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
        .into(),
    };
    let address = SocketAddress {
        address: asker.client.to_string(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(0)),
    };
    let source = attribute_context::Peer {
        address: Some(Address { address: Some(address::Address::SocketAddress(address)) }),
        principal: asker.certificate.unwrap_or_default().into(),
    };
    grpc::frame(&CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            request: Some(attribute_context::Request { http: Some(http) }),
        }),
    })
}

/// `trailers`: of a call that ended well they say so.
pub(super) fn judge(
    external: &External,
    answer: &Response<Bytes>,
    trailers: Option<&HeaderMap>,
) -> Option<Answer> {
    let ended = trailers?.get(grpc::GRPC_STATUS)?;
    if answer.status() != StatusCode::OK || !grpc::is_grpc(answer.headers()) || ended != "0" {
        return None;
    }
    let CheckResponse { status, http_response } = grpc::unframe(answer.body())?;
    match (status.map(|status| status.code), http_response) {
        (_, Some(HttpResponse::ErrorResponse(_))) | (None, None) => None,
        (Some(OK), None) => Some(Answer::Admitted(Granted::new(None, Vec::new(), Vec::new()).into())),
        (None | Some(OK), Some(HttpResponse::OkResponse(ok))) => {
            Some(Answer::Admitted(granted(external, ok)?.into()))
        }
        (_, Some(HttpResponse::DeniedResponse(denied))) => denied_by(denied),
        (Some(_), _) => Some(Answer::Denied),
    }
}

fn granted(external: &External, ok: OkHttpResponse) -> Option<Granted> {
    let mut edits = fields(ok.headers, |name| !headers::is_ours(name) && *name != HOST)?;
    let told = external.identity.as_ref().and_then(|wanted| edits.iter().find(|edit| edit.name == *wanted));
    let name = told.map(|edit| edit.value.clone());
    if !external.copy.is_empty() {
        edits.retain(|edit| external.copy.contains(&edit.name));
    }
    let removed = ok.headers_to_remove.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    let removed = removed.filter(|name| !headers::is_ours(name) && *name != HOST).collect();
    Some(Granted::new(name.as_ref(), edits, removed))
}

/// Whatever it says, the request does not pass.
fn denied_by(denied: DeniedHttpResponse) -> Option<Answer> {
    let DeniedHttpResponse { status, headers, body } = denied;
    let code = status.and_then(|status| u16::try_from(status.code).ok()).unwrap_or(0);
    let status = match code {
        300..=599 => StatusCode::from_u16(code).unwrap_or(StatusCode::FORBIDDEN),
        _ => StatusCode::FORBIDDEN,
    };
    let edits = fields(headers, |name| !headers::is_ours(name)).unwrap_or_default();
    if edits.is_empty() && body.is_empty() && status == StatusCode::FORBIDDEN {
        return Some(Answer::Denied);
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    for Edit { name, value, how } in edits {
        match how {
            How::Append => drop(response.headers_mut().append(name, value)),
            _ => drop(response.headers_mut().insert(name, value)),
        }
    }
    if !response.body().is_empty() {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().entry(CONTENT_TYPE).or_insert(text);
    }
    let response = Box::new(response);
    Some(match code {
        300..=399 | 401 => Answer::Unauthenticated(response),
        _ => Answer::Forbidden(response),
    })
}

/// Pseudo-header fields, and those that nobody may set, are left out. `None`: a field can't be written.
fn fields(options: Vec<HeaderValueOption>, is_settable: impl Fn(&HeaderName) -> bool) -> Option<Vec<Edit>> {
    let mut fields = Vec::with_capacity(options.len());
    for option in options {
        let how = how(&option);
        let v3::HeaderValue { key, value, raw_value } = option.header?;
        if key.starts_with(':') {
            continue;
        }
        let name = HeaderName::from_bytes(key.as_bytes()).ok()?;
        let value = if value.is_empty() { raw_value } else { value.into_bytes() };
        let value = HeaderValue::from_bytes(&value).ok()?;
        if is_settable(&name) {
            fields.push(Edit { name, value, how });
        }
    }
    Some(fields)
}

fn how(option: &HeaderValueOption) -> How {
    match (option.append, option.append_action()) {
        (Some(true), _) => How::Append,
        (None, HeaderAppendAction::AddIfAbsent) => How::AppendIfAbsent,
        (None, HeaderAppendAction::OverwriteIfExists) => How::SetIfPresent,
        (Some(false) | None, _) => How::Set,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gatehouse_proto::ext_authz::v3::CheckRequest;
    use http::{HeaderMap, HeaderValue, Method, Response, Version};

    use super::{Answer, grpc};
    use crate::auth::{
        Asker, External,
        external::tests::{headers, wire},
    };

    fn compiled(change: impl FnOnce(&mut gatehouse_proto::config::v1::ExternalAuth)) -> External {
        let mut wire = wire();
        wire.forward_headers = Vec::new();
        wire.copy_headers = Vec::new();
        change(&mut wire);
        External::grpc(&wire).unwrap()
    }

    /// A field of length-delimited content, as the protocol has it.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len();
        let (low, high) = (u8::try_from(length & 0x7f).unwrap(), u8::try_from(length >> 7).unwrap());
        let length = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
        [&[(number << 3) | 2][..], &length, content].concat()
    }

    fn framed(message: &[u8]) -> Response<Bytes> {
        let mut body = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
        body.extend_from_slice(message);
        let mut answer = Response::new(Bytes::from(body));
        answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        answer
    }

    fn judged(external: &External, message: &[u8]) -> Option<Answer> {
        super::judge(external, &framed(message), Some(&headers(&[("grpc-status", "0")])))
    }

    /// HeaderValueOption with header {key, value} and what else there is.
    fn option(key: &str, value: &str, more: &[u8]) -> Vec<u8> {
        [field(1, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()), more.to_vec()].concat()
    }

    #[test]
    fn questions_are_as_the_protocol_has_them() {
        let request = headers(&[
            ("authorization", "Bearer x"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("x-tenant", "a"),
            ("x-tenant", "b"),
            ("host", "shop.example"),
            ("content-length", "7"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "r1"),
        ]);
        let external = compiled(|_| {});
        let told = external.question(&Method::POST, "/orders?x=1", &request);
        let asker = Asker {
            client: "192.0.2.1".parse().unwrap(),
            version: Version::HTTP_2,
            certificate: Some("spiffe://a/b"),
        };
        let question: CheckRequest = grpc::unframe(&external.message(&told, &asker).unwrap()).unwrap();
        let attributes = question.attributes.unwrap();
        let http = attributes.request.unwrap().http.unwrap();
        let header = |name: &str| http.headers.get(name).map(String::as_str);
        assert_eq!(header("authorization"), Some("Bearer x"));
        assert_eq!(header("cookie"), Some("a=1; b=2"));
        assert_eq!(header("x-tenant"), Some("a,b"));
        assert_eq!((header("host"), header("x-forwarded-uri")), (None, None));
        let line = [&*http.method, &*http.path, &*http.host, &*http.scheme, &*http.protocol, &*http.id];
        assert_eq!(line, ["POST", "/orders?x=1", "shop.example", "https", "HTTP/2", "r1"]);
        assert_eq!(http.size, 7);
        assert_eq!(attributes.source.unwrap().principal, "spiffe://a/b");

        let told = compiled(|wire| wire.forward_headers = vec!["X-Tenant".into()]).question(
            &Method::GET,
            "/",
            &request,
        );
        assert!(!told.contains_key("authorization") && told.contains_key("x-tenant"));

        // By number: attributes 1, source 1, request 4 with http 2.
        let asker =
            Asker { client: "10.0.0.1".parse().unwrap(), version: Version::HTTP_11, certificate: None };
        let bytes = super::message(&HeaderMap::new(), &asker);
        let address = field(1, &[field(2, b"10.0.0.1"), vec![3 << 3, 0]].concat());
        let source = field(1, &field(1, &address));
        let minus_one = [vec![9 << 3], vec![0xff; 9], vec![1]].concat();
        let http = field(4, &field(2, &[minus_one, field(10, b"HTTP/1.1")].concat()));
        assert_eq!(&bytes[5..], field(1, &[source, http].concat()));
    }

    #[test]
    fn answers_admit_refuse_or_are_none() {
        let external = compiled(|_| {});
        let ok_status = field(1, &[]);
        let denied_status = field(1, &[1 << 3, 7]);
        let http_status = |code: u16| {
            let low = u8::try_from(code & 0x7f).unwrap() | 0x80;
            field(1, &[1 << 3, low, u8::try_from(code >> 7).unwrap()])
        };
        for (message, wanted) in [
            (ok_status.clone(), "admitted"),
            (field(3, &[]), "admitted"),
            ([ok_status.clone(), field(3, &[])].concat(), "admitted"),
            (denied_status.clone(), "denied"),
            ([denied_status.clone(), field(3, &[])].concat(), "denied"),
            ([denied_status.clone(), field(2, &[])].concat(), "denied"),
            ([denied_status.clone(), field(2, &http_status(401))].concat(), "unauthenticated 401"),
            ([denied_status.clone(), field(2, &http_status(302))].concat(), "unauthenticated 302"),
            ([denied_status.clone(), field(2, &http_status(429))].concat(), "forbidden 429"),
            ([denied_status.clone(), field(2, &http_status(503))].concat(), "forbidden 503"),
            // It can't be admitted and refused at once.
            ([ok_status.clone(), field(2, &http_status(401))].concat(), "unauthenticated 401"),
            // No status that a refusal can have.
            ([denied_status, field(2, &http_status(200))].concat(), "denied"),
            ([ok_status.clone(), field(5, &[])].concat(), "none"),
            (field(5, &[]), "none"),
            (vec![], "none"),
            (vec![0xff], "none"),
            // A value that no field can have.
            (field(3, &field(2, &option("x-a", "a\nb", &[]))), "none"),
        ] {
            let found = match judged(&external, &message) {
                None | Some(Answer::Failure) => "none".into(),
                Some(Answer::Admitted(_)) => "admitted".into(),
                Some(Answer::Denied) => "denied".into(),
                Some(Answer::Unauthenticated(answer)) => {
                    format!("unauthenticated {}", answer.status().as_u16())
                }
                Some(Answer::Forbidden(answer)) => format!("forbidden {}", answer.status().as_u16()),
            };
            assert_eq!(found, wanted, "{message:?}");
        }
        // The call itself failed, or was cut off.
        for (trailers, content) in
            [(None, "application/grpc"), (Some("13"), "application/grpc"), (Some("0"), "text/html")]
        {
            let mut answer = framed(&ok_status);
            answer.headers_mut().insert("content-type", HeaderValue::from_static(content));
            let trailers = trailers.map(|status| headers(&[("grpc-status", status)]));
            assert!(super::judge(&external, &answer, trailers.as_ref()).is_none(), "{trailers:?} {content}");
        }
    }

    #[test]
    fn an_answer_changes_the_request_as_far_as_it_may() {
        let fields = [
            field(2, &option("X-Auth-User", "alice", &[])),
            field(2, &option("x-role", "a", &field(2, &[1 << 3, 1]))),
            field(2, &option("x-absent", "1", &[3 << 3, 1])),
            field(2, &option("x-consumer-username", "root", &[])),
            field(2, &option("host", "elsewhere", &[])),
            field(2, &option(":path", "/admin", &[])),
            field(5, b"authorization"),
            field(5, b"host"),
        ];
        let message = field(3, &fields.concat());
        let applied = |external: &External| {
            let Some(Answer::Admitted(granted)) = judged(external, &message) else { panic!("not admitted") };
            let mut request = headers(&[
                ("host", "shop"),
                ("authorization", "x"),
                ("x-auth-user", "root"),
                ("x_auth_user", "root"),
                ("x-role", "b"),
            ]);
            granted.apply(&mut request);
            (granted.credential.to_string(), request)
        };
        let (credential, request) = applied(&compiled(|_| {}));
        assert_eq!(credential, "external:alice");
        let wanted = headers(&[
            ("host", "shop"),
            ("x-auth-user", "alice"),
            ("x-role", "b"),
            ("x-role", "a"),
            ("x-absent", "1"),
        ]);
        assert_eq!(request, wanted);
        let (_, request) = applied(&compiled(|wire| wire.copy_headers = vec!["X-Role".into()]));
        assert!(!request.contains_key("x-absent") && request.get_all("x-role").iter().count() == 2);
    }
}
