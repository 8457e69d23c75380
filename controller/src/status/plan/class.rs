//! GatewayClasses of ours: accepted or not, and what we serve.

use gatehouse_crds::SupportedFeature;
use serde_json::json;

use super::{
    Input, Write,
    conditions::{self, Moment, Scope},
    features::FEATURES,
    status_of, write,
};
use crate::resources::ObjectKey;

pub(super) fn plan(input: &Input<'_>, writes: &mut Vec<Write>) {
    for (name, class) in &input.resources.gateway_classes {
        let key = ObjectKey::new("", name);
        let Some(wanted) = status_of(input, "GatewayClass", &key) else { continue };
        let observed = class.status.clone().unwrap_or_default();
        let moment = Moment::of(input, class);
        let (conditions, flips) =
            conditions::settle(&wanted.conditions, &observed.conditions, Scope::OurTypes, "", &moment);
        let features: Vec<SupportedFeature> =
            FEATURES.iter().map(|name| SupportedFeature { name: (*name).to_owned() }).collect();
        if conditions != observed.conditions || features != observed.supported_features {
            let status = json!({ "conditions": conditions, "supportedFeatures": features });
            writes.extend(write("GatewayClass", &key, class, status, flips));
        }
    }
}
