//! An aggregate of a rule: what is asked of which backend, and what becomes of the answers.

mod template;

use std::collections::BTreeSet;

use gatehouse_crds::{Aggregate, AggregatePart, PartFailure, Retry};
use gatehouse_proto::config::v1;

use super::{
    backend, check,
    input::{RouteInput, plain_backend},
    names,
    policy::Policies,
    rule::{self, RuleOutput},
};
use crate::resources::Resources;

/// As many backends as one request may wait for.
const MOST_PARTS: usize = 16;
/// Bytes; as many parts of this size can be held for a request.
const MOST_PART_BYTES: i32 = 4 << 20;
/// Milliseconds.
const LONGEST: u64 = 5 * 60 * 1000;

/// A part whose reference is broken stays, and has failed. The error names the field.
pub(super) fn translate(
    aggregate: &Aggregate,
    retry: Option<&Retry>,
    route: &RouteInput<'_>,
    policies: &Policies,
    resources: &Resources,
    output: &mut RuleOutput,
) -> Result<v1::Aggregate, String> {
    let count = aggregate.parts.len();
    if !(1..=MOST_PARTS).contains(&count) {
        return Err(format!("aggregate.parts: there are {count}: name 1 to {MOST_PARTS}"));
    }
    let mut names: BTreeSet<&str> = aggregate.errors_member.as_deref().into_iter().collect();
    for name in names.iter().copied().chain(aggregate.parts.iter().map(|part| &*part.name)) {
        check::member(name).map_err(|error| format!("aggregate: {error}"))?;
    }
    if let Some(twice) = aggregate.parts.iter().find(|part| !names.insert(&part.name)) {
        return Err(format!("aggregate: two members are named {}", twice.name));
    }
    let timeout = limit("aggregate.timeout", &aggregate.timeout)?;
    let max_part_bytes = aggregate.max_part_bytes;
    if !(1..=MOST_PART_BYTES).contains(&max_part_bytes) {
        return Err(format!("aggregate.maxPartBytes is {max_part_bytes}: use 1 to {MOST_PART_BYTES}"));
    }
    let parts = aggregate.parts.iter().map(|part| self::part(part, route, policies, resources, output));
    Ok(v1::Aggregate {
        parts: parts.collect::<Result<_, _>>()?,
        timeout_ms: timeout,
        max_part_bytes: u64::try_from(max_part_bytes).unwrap_or(0),
        errors_member: aggregate.errors_member.clone().unwrap_or_default(),
        retry: retry.map(rule::retry).transpose()?,
    })
}

fn part(
    part: &AggregatePart,
    route: &RouteInput<'_>,
    policies: &Policies,
    resources: &Resources,
    output: &mut RuleOutput,
) -> Result<v1::AggregatePart, String> {
    let field = format!("aggregate.parts[{}]", part.name);
    let template = template::parse(&part.path).map_err(|error| format!("{field}.path: {error}"))?;
    let timeout = part.timeout.as_deref().map(|text| limit(&format!("{field}.timeout"), text)).transpose()?;
    let headers = part.request_headers.as_ref().map(rule::changes).transpose();
    let mut wire = v1::AggregatePart {
        name: part.name.clone(),
        path: template.path,
        query: template.query,
        timeout_ms: timeout.unwrap_or(0),
        on_failure: match part.on_failure {
            PartFailure::Fail => v1::PartFailure::Fail,
            PartFailure::Null => v1::PartFailure::Null,
            PartFailure::Omit => v1::PartFailure::Omit,
        }
        .into(),
        request_headers: headers.map_err(|error| format!("{field}.requestHeaders: {error}"))?,
        ..v1::AggregatePart::default()
    };
    let reference = rule::target(&part.backend_ref);
    let field = format!("{field}.backendRef");
    let target = plain_backend(&reference);
    match backend::resolve(&field, &target, route, policies, resources, &mut output.of_backend) {
        Ok((key, service)) => {
            wire.service = names::service(&key);
            output.services.push((key, service));
        }
        Err(problem) => {
            wire.broken.clone_from(&problem.message);
            output.unresolved.push(problem);
        }
    }
    Ok(wire)
}

fn limit(field: &str, text: &str) -> Result<u64, String> {
    let limit = rule::milliseconds(text).map_err(|error| format!("{field}: {error}"))?;
    if (1..=LONGEST).contains(&limit) { Ok(limit) } else { Err(format!("{field} is {text}: use 1ms to 5m")) }
}
