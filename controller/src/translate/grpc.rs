//! What a GRPCRoute matches, in terms of HTTP: a call is a POST to `/SERVICE/METHOD` (gRPC over HTTP/2, Requests).
//!
//! The forms are chosen so that the order of paths is the order that GRPCRouteRule.matches asks for: service and method,
//! then the service alone, then the method alone, then neither. Expressions stand between the first two.

use gatehouse_crds::{GrpcMethodMatch, GrpcRouteMatch, ValueMatchType};
use gatehouse_proto::config::v1::{self, PathKind, ValueKind};

use super::{check, rule};

/// None at all stand for every call.
pub(super) fn matches(matches: &[GrpcRouteMatch]) -> Vec<Result<v1::Match, String>> {
    if matches.is_empty() {
        return vec![match_(&GrpcRouteMatch::default())];
    }
    matches.iter().map(match_).collect()
}

fn match_(one: &GrpcRouteMatch) -> Result<v1::Match, String> {
    let (path, method) = match &one.method {
        None => (None, None),
        Some(wanted) => method(wanted).map_err(|error| format!("matches.method.{error}"))?,
    };
    Ok(v1::Match {
        path: path.map(|(kind, value)| v1::PathMatch { kind: kind.into(), value }),
        method: "POST".into(),
        headers: rule::headers(&one.headers)?,
        query_params: Vec::new(),
        grpc: Some(v1::GrpcMatch { method }),
    })
}

/// The path, and what is asked of the method where the path does not say it.
type Place = (Option<(PathKind, String)>, Option<v1::ValueMatch>);

/// The error begins with the name of a field.
fn method(wanted: &GrpcMethodMatch) -> Result<Place, String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (service, method) = (given(&wanted.service), given(&wanted.method));
    let check: fn(&str) -> Result<(), String> = match wanted.kind {
        ValueMatchType::Exact => segment,
        ValueMatchType::RegularExpression => check::expression,
    };
    for (field, text) in [("service", &service), ("method", &method)] {
        text.as_deref().map_or(Ok(()), check).map_err(|error| format!("{field}: {error}"))?;
    }
    Ok(match (wanted.kind, service, method) {
        (_, None, None) => return Err("service: give a service, a method or both".into()),
        (ValueMatchType::Exact, Some(service), Some(method)) => {
            (Some((PathKind::Exact, format!("/{service}/{method}"))), None)
        }
        (ValueMatchType::Exact, Some(service), None) => {
            (Some((PathKind::Prefix, format!("/{service}"))), None)
        }
        (ValueMatchType::RegularExpression, Some(service), method) => {
            let method = method.map_or("[^/]+".into(), |method| format!("(?:{method})"));
            (Some((PathKind::RegularExpression, format!("/(?:{service})/{method}"))), None)
        }
        (kind, None, Some(value)) => {
            let kind = match kind {
                ValueMatchType::Exact => ValueKind::Exact,
                ValueMatchType::RegularExpression => ValueKind::RegularExpression,
            };
            (None, Some(v1::ValueMatch { name: String::new(), kind: kind.into(), value }))
        }
    })
}

/// A name of services or methods: a segment of a path, as the schema bounds it.
fn segment(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._".contains(&byte);
    if name.bytes().all(allowed) && !name.bytes().all(|byte| byte == b'.') {
        return Ok(());
    }
    Err(format!("{name:?} is no name of gRPC: use letters, digits, `_` and `.`"))
}
