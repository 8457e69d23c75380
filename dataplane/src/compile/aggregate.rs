//! Compiles an `Aggregate`.

use std::{sync::Arc, time::Duration};

use gatehouse_proto::config::v1;

use super::route::{changes, retry};
use crate::{
    filter::{CommonChanges, Template},
    observe::metrics::PartMetrics,
    snapshot::{Aggregate, OnFailure, Part},
};

/// `metrics` gives the handle of a part.
pub(super) fn compile(
    wire: &v1::Aggregate,
    metrics: impl Fn(&str) -> Arc<PartMetrics>,
    common: &mut CommonChanges,
) -> Result<Aggregate, String> {
    let errors = Some(&wire.errors_member).filter(|name| !name.is_empty());
    Ok(Aggregate {
        parts: wire
            .parts
            .iter()
            .map(|wire| part(wire, metrics(&wire.name), common))
            .collect::<Result<_, _>>()?,
        timeout: Duration::from_millis(wire.timeout_ms),
        max_part_bytes: usize::try_from(wire.max_part_bytes).unwrap_or(usize::MAX),
        errors_member: errors.map(|name| member(name)).transpose()?,
        retry: wire.retry.as_ref().map(retry).transpose()?,
    })
}

fn part(
    wire: &v1::AggregatePart,
    metrics: Arc<PartMetrics>,
    common: &mut CommonChanges,
) -> Result<Part, String> {
    let name = &*wire.name;
    let in_part = |error: String| format!("aggregate part {name}: {error}");
    Ok(Part {
        name: name.into(),
        member: member(name)?,
        target: Template::compile(&wire.path, &wire.query).map_err(|invalid| in_part(invalid.to_string()))?,
        timeout: (wire.timeout_ms > 0).then(|| Duration::from_millis(wire.timeout_ms)),
        on_failure: match wire.on_failure() {
            v1::PartFailure::Fail => OnFailure::Fail,
            v1::PartFailure::Null => OnFailure::Null,
            v1::PartFailure::Omit => OnFailure::Omit,
            v1::PartFailure::Unspecified => {
                return Err(in_part("this dataplane does not know what its failure does".into()));
            }
        },
        request_headers: changes(wire.request_headers.as_ref(), common).map_err(in_part)?,
        metrics,
    })
}

/// As it begins in the answer. Names go into JSON, headers and logs as they are.
fn member(name: &str) -> Result<Box<str>, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(format!("aggregate: {name:?} is no name of a member"));
    }
    Ok(format!("\"{name}\":").into())
}
