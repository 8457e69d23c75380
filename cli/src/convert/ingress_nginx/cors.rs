//! `enable-cors` and what belongs to it.

use gatehouse_controller::translate::nginx;
use serde_json::json;

use super::{Conversion, annotations::Annotations, treatment::Treatment};

impl<'a> Conversion<'a, '_> {
    pub(super) fn cors(&self, annotations: &Annotations<'a, '_>, treatment: &mut Treatment<'a>) {
        let Some(enabled) = annotations.flag("enable-cors").filter(|at| at.value) else { return };
        let (cors, wrong) = nginx::cors(|name| annotations.filled(name).map(|at| at.value));
        for (origin, node) in wrong.iter().zip(annotations.find("cors-allow-origin").iter().cycle()) {
            self.report.refuse(node, format!("{origin} is not converted: an origin is https://HOST[:PORT], the host may begin with `*.`"));
        }
        self.report.warn(&enabled.node, "answers OPTIONS with Access-Control-Request-Method, which is a preflight; others go to the backend. Only origins that may are told so");
        if cors.allow_origins == ["*"] && annotations.flag("cors-allow-credentials").is_none_or(|at| at.value)
        {
            self.report.warn(&enabled.node, "lets every origin in, without Access-Control-Allow-Credentials: beside `*` browsers refuse it");
        }
        treatment.cors = Some(json!(cors));
    }
}
