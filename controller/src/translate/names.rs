//! Names of wire resources. Each begins with its kind.

use crate::resources::ObjectKey;

pub(super) const SETTINGS: &str = "settings";

pub(super) fn listener(gateway: &ObjectKey, section: &str) -> String {
    format!("listener/{gateway}/{section}")
}

pub(super) fn certificate(secret: &ObjectKey) -> String {
    format!("certificate/{secret}")
}

/// `variant` tells routes apart that one rule makes for listeners with different policies.
pub(super) fn route(object: &str, rule: usize, variant: Option<&str>) -> String {
    match variant {
        None => format!("route/{object}/{rule}"),
        Some(variant) => format!("route/{object}/{rule}/{variant}"),
    }
}

pub(super) fn service(service: &ObjectKey, port: i32) -> String {
    format!("service/{service}/{port}")
}

pub(super) fn endpoints(service: &ObjectKey, port: i32) -> String {
    format!("endpoints/{service}/{port}")
}

pub(super) fn auth(policy: &ObjectKey) -> String {
    format!("auth/{policy}")
}

pub(super) fn rate_limit(policy: &ObjectKey) -> String {
    format!("ratelimit/{policy}")
}

pub(super) fn consumer(consumer: &ObjectKey) -> String {
    format!("consumer/{consumer}")
}
