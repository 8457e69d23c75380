//! `when` of a limit -> `LimitCondition`. Errors are without the limit's name.

use gatehouse_crds::LimitCondition;
use gatehouse_proto::config::v1::{self, limit_condition::Kind};

use crate::translate::check;

pub(super) fn compile(condition: &LimitCondition) -> Result<v1::LimitCondition, String> {
    let texts = |texts: &[String]| (!texts.is_empty()).then(|| v1::Texts { of: texts.to_vec() });
    let mut kinds = Vec::new();
    for method in &condition.methods {
        check::token(method).map_err(|_| format!("methods: {method:?} is no method"))?;
    }
    kinds.extend(texts(&condition.methods).map(Kind::Methods));
    if let Some(prefix) = &condition.path_prefix {
        check::path(prefix).map_err(|what| format!("pathPrefix: {what}"))?;
        kinds.push(Kind::PathPrefix(prefix.clone()));
    }
    if let Some(header) = &condition.header {
        check::token(&header.name).map_err(|what| format!("header: {what}"))?;
        if header.value.as_ref().is_some_and(|value| value.chars().any(char::is_control)) {
            return Err(format!("header: the value of {} holds a control character", header.name));
        }
        kinds.push(Kind::Header(v1::LimitHeader { name: header.name.clone(), value: header.value.clone() }));
    }
    if let Some(client) = &condition.client_ip {
        let is_none = |text: &&String| {
            text.parse::<ipnet::IpNet>().is_err() && text.parse::<std::net::IpAddr>().is_err()
        };
        if let Some(text) = client.ranges.iter().find(is_none) {
            return Err(format!("clientIP.ranges: {text:?} is no address range"));
        }
        kinds.push(Kind::ClientRanges(v1::Texts { of: client.ranges.clone() }));
    }
    kinds.extend(texts(&condition.tiers).map(Kind::Tiers));
    kinds.extend(texts(&condition.groups).map(Kind::Groups));
    kinds.extend(condition.anonymous.as_ref().map(|_| Kind::Anonymous(v1::Empty {})));
    let [kind] = <[Kind; 1]>::try_from(kinds).map_err(
        |_| "give exactly one of methods, pathPrefix, header, clientIP, tiers, groups and anonymous",
    )?;
    Ok(v1::LimitCondition { not: condition.not, kind: Some(kind) })
}
