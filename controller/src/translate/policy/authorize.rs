//! Who of those that are known may pass.

use std::net::IpAddr;

use gatehouse_crds::{AuthPolicySpec, AuthorizationRule, ClaimRule};
use gatehouse_proto::config::v1;
use ipnet::IpNet;

use crate::translate::conditions::{Problem, reason};

/// The rules, and the addresses that are refused.
pub(super) fn compile(spec: &AuthPolicySpec) -> Result<(Vec<v1::Authorization>, Vec<String>), Problem> {
    let denied = ranges("denyClientIPs", &spec.deny_client_ips)?;
    let rules = spec.authorize.iter().enumerate();
    let rules = rules
        .map(|(index, rule)| self::rule(&format!("authorize[{index}]"), rule))
        .collect::<Result<_, _>>()?;
    Ok((rules, denied))
}

fn rule(place: &str, rule: &AuthorizationRule) -> Result<v1::Authorization, Problem> {
    let wire = v1::Authorization {
        groups: rule.groups.clone(),
        tiers: rule.tiers.clone(),
        claims: rule.claims.iter().map(|claim| self::claim(place, claim)).collect::<Result<_, _>>()?,
        clients: ranges(&format!("{place}.clientIPs"), &rule.client_ips)?,
    };
    if wire == v1::Authorization::default() {
        return Err(invalid(place, "state at least one of groups, tiers, claims and clientIPs"));
    }
    Ok(wire)
}

fn claim(place: &str, claim: &ClaimRule) -> Result<v1::ClaimCondition, Problem> {
    let (any_of, absent) = match (&claim.equals, &*claim.any_of, claim.exists) {
        (Some(value), [], None) => (vec![value.clone()], false),
        (None, [_, ..], None) => (claim.any_of.clone(), false),
        (None, [], Some(exists)) => (Vec::new(), !exists),
        _ => {
            let place = format!("{place}.claims: {}", claim.name);
            return Err(invalid(&place, "give exactly one of equals, anyOf and exists"));
        }
    };
    Ok(v1::ClaimCondition { claim: claim.name.clone(), any_of, absent })
}

fn ranges(place: &str, ranges: &[String]) -> Result<Vec<String>, Problem> {
    let is_range = |text: &String| text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok();
    match ranges.iter().find(|text| !is_range(text)) {
        None => Ok(ranges.to_vec()),
        Some(text) => Err(invalid(place, &format!("{text:?} is no address range such as 10.0.0.0/8"))),
    }
}

fn invalid(place: &str, what: &str) -> Problem {
    Problem::new(reason::INVALID, format!("{place}: {what}"))
}
