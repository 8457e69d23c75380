//! `healthCheck` -> what dataplanes find out about endpoints. The error names the field.

use gatehouse_crds::{ActiveCheck, FailurePercent, HttpCheck, PassiveCheck, WhenNoneHealthy};
use gatehouse_proto::config::v1::{self, active_check::Kind};
use http::uri::Authority;

use super::fields::{duration, number};
use crate::translate::check;

pub(super) fn passive(check: &PassiveCheck) -> Result<v1::PassiveCheck, String> {
    let at_most_a_million = 0..=1_000_000;
    let wire = v1::PassiveCheck {
        consecutive_errors: number("consecutive5xxErrors", check.consecutive_5xx_errors, &at_most_a_million)?,
        consecutive_gateway_errors: number(
            "consecutiveGatewayErrors",
            check.consecutive_gateway_errors,
            &at_most_a_million,
        )?,
        base_ejection_ms: duration("baseEjectionTime", &check.base_ejection_time, 100, "100ms")?,
        max_ejection_percent: number("maxEjectionPercent", check.max_ejection_percent, &(1..=100))?,
        ..v1::PassiveCheck::default()
    };
    let wire = match &check.failure_percent {
        None => wire,
        Some(FailurePercent { threshold, minimum_requests, interval }) => v1::PassiveCheck {
            failure_percent: number("failurePercent.threshold", *threshold, &(1..=100))?,
            minimum_requests: number("failurePercent.minimumRequests", *minimum_requests, &(1..=1_000_000))?,
            interval_ms: duration("failurePercent.interval", interval, 1000, "1s")?,
            ..wire
        },
    };
    if [wire.consecutive_errors, wire.consecutive_gateway_errors, wire.failure_percent] == [0; 3] {
        return Err(
            "consecutive5xxErrors: give at least one of consecutive5xxErrors, consecutiveGatewayErrors and failurePercent".into()
        );
    }
    Ok(wire)
}

pub(super) fn active(spec: &ActiveCheck) -> Result<v1::ActiveCheck, String> {
    let kind = match (&spec.http, &spec.tcp, &spec.grpc) {
        (Some(spec), None, None) => Kind::Http(http(spec)?),
        (None, Some(_), None) => Kind::Tcp(v1::Empty {}),
        (None, None, Some(spec)) => Kind::Grpc(v1::GrpcCheck { service: spec.service.clone() }),
        _ => return Err("http: give exactly one of http, tcp and grpc".into()),
    };
    let wire = v1::ActiveCheck {
        kind: Some(kind),
        interval_ms: duration("interval", &spec.interval, 100, "100ms")?,
        timeout_ms: duration("timeout", &spec.timeout, 10, "10ms")?,
        healthy_threshold: number("healthyThreshold", spec.healthy_threshold, &(1..=100))?,
        unhealthy_threshold: number("unhealthyThreshold", spec.unhealthy_threshold, &(1..=100))?,
        refuse_when_none_healthy: spec.when_none_healthy == WhenNoneHealthy::Refuse,
    };
    if wire.timeout_ms > wire.interval_ms {
        return Err("timeout: it can't be longer than interval".into());
    }
    Ok(wire)
}

fn http(spec: &HttpCheck) -> Result<v1::HttpCheck, String> {
    check::path(&spec.path).map_err(|error| format!("http.path: {error}"))?;
    let host = spec.host.clone().unwrap_or_default();
    if !host.is_empty() && Authority::try_from(host.as_str()).is_err() {
        return Err(format!("http.host: {host:?} is no host"));
    }
    let statuses = spec.expected_statuses.iter();
    let statuses = statuses.map(|code| number("http.expectedStatuses", *code, &(200..=599)));
    Ok(v1::HttpCheck {
        path: spec.path.clone(),
        host,
        expected_statuses: statuses.collect::<Result<_, _>>()?,
    })
}
