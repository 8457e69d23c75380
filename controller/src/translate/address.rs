//! The addresses that a Gateway asks for (GatewaySpec.addresses).

use std::net::IpAddr;

use gatehouse_crds::{Gateway, GatewayAddress};

use super::conditions::{Problem, reason};

/// What is the default of the API.
const IP_ADDRESS: &str = "IPAddress";

/// The IP addresses that the Gateway must have, as it writes them. One without a value is for us to choose.
pub(crate) fn requested(gateway: &Gateway) -> impl Iterator<Item = &str> {
    let addresses = gateway.spec.addresses.iter().filter(|address| kind(address) == IP_ADDRESS);
    addresses.map(|address| address.value.as_str()).filter(|value| !value.is_empty())
}

/// An address of a type or form that no Service can be asked for.
pub(super) fn unsupported(gateway: &Gateway) -> Option<Problem> {
    let problems = gateway.spec.addresses.iter().filter_map(|address| {
        let message = match (kind(address), address.value.as_str()) {
            (IP_ADDRESS, value) if value.is_empty() || value.parse::<IpAddr>().is_ok() => return None,
            (IP_ADDRESS, value) => format!("addresses: {value} is no IP address"),
            (other, _) => format!("addresses: type {other} is not served: use {IP_ADDRESS}"),
        };
        Some(Problem::new(reason::UNSUPPORTED_ADDRESS, message))
    });
    Problem::join(problems)
}

fn kind(address: &GatewayAddress) -> &str {
    address.kind.as_deref().unwrap_or(IP_ADDRESS)
}
