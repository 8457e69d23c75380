//! GatewayClasses of ours: accepted or not, and what we serve.

use gatehouse_crds::{GatewayClass, SupportedFeature};
use serde_json::json;

use super::{
    Input, Write,
    conditions::{self, Moment, Scope},
    features, status_of, write,
};
use crate::resources::ObjectKey;

pub(super) fn plan(input: &Input<'_>, name: &str, class: &GatewayClass) -> Option<Write> {
    let key = ObjectKey::new("", name);
    let wanted = status_of(input, "GatewayClass", &key)?;
    let observed = class.status.clone().unwrap_or_default();
    let moment = Moment::of(input, class);
    let (conditions, flips) =
        conditions::settle(&wanted.conditions, &observed.conditions, Scope::OurTypes, "", &moment);
    let features: Vec<SupportedFeature> = features::served(&input.resources.installed)
        .map(|name| SupportedFeature { name: name.to_owned() })
        .collect();
    if conditions == observed.conditions && features == observed.supported_features {
        return None;
    }
    let status = json!({ "conditions": conditions, "supportedFeatures": features });
    write("GatewayClass", &key, class, status, flips)
}
