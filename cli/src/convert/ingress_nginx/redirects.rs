//! Requests that are sent elsewhere, whoever sends them.

use gatehouse_controller::translate::nginx::{Moved, flag, moved};
use serde_json::{Value, json};

use super::{
    Conversion,
    annotations::Annotations,
    treatment::{ToHttps, Treatment},
};
use crate::convert::{forms::is_host, tree::At};

impl<'a> Conversion<'a, '_> {
    pub(super) fn redirects(&self, annotations: &Annotations<'a, '_>, treatment: &mut Treatment<'a>) {
        let setting = |name: &str| {
            let own = annotations.flag(name).map(|at| at.value);
            own.or_else(|| self.input.global(name, self.report).and_then(|at| flag(&at.value)))
        };
        treatment.to_https = match (setting("force-ssl-redirect"), setting("ssl-redirect")) {
            (Some(true), _) => ToHttps::Always,
            (_, Some(false)) => ToHttps::Never,
            _ => ToHttps::Certified,
        };
        if setting("force-ssl-redirect") == Some(true) {
            annotations.warn("force-ssl-redirect", "redirects all that comes over plain HTTP: where something before the gateway ends TLS, that is everything");
        }
        if let Some(at) = annotations.filled("app-root") {
            if at.value.starts_with('/') && !at.value.contains('$') {
                treatment.app_root = Some(at.value);
            } else {
                self.report.refuse(&at.node, "is not converted: it is no plain path");
            }
        }
        let code = |name: &str, most: i32, default: i32| {
            let code = annotations.number(name).and_then(|at| at.value.try_into().ok());
            code.filter(|code| (300..=most).contains(code)).unwrap_or(default)
        };
        let permanent = annotations.filled("permanent-redirect");
        let temporal = annotations.filled("temporal-redirect");
        let (name, target, code) = match (temporal, permanent) {
            (Some(target), _) => ("temporal-redirect", target, code("temporal-redirect-code", 307, 302)),
            (None, Some(target)) => ("permanent-redirect", target, code("permanent-redirect-code", 308, 301)),
            (None, None) => return,
        };
        match moved(&target.value, code) {
            Some(Moved::To(respond)) => treatment.answer = Some(("respond", json!(respond))),
            Some(Moved::Along(redirect)) => treatment.answer = Some(("redirect", json!(redirect))),
            None => {
                let why = "leads to a URL with variables other than $request_uri at its end, which has no like here";
                self.close(&target.node, name, why, &mut treatment.missing);
            }
        }
    }

    /// A rewrite to another server, which is a redirect. `None`: it is not converted.
    pub(super) fn rewrite_elsewhere(&self, target: &At<'a, String>) -> Option<Value> {
        let uri = target.value.parse::<http::Uri>().ok().filter(|_| !target.value.contains('$'));
        let uri = uri.filter(|uri| uri.query().is_none())?;
        let host = uri.host().map(str::to_ascii_lowercase).filter(|host| is_host(host))?;
        let mut redirect = json!({
            "scheme": uri.scheme_str()?, "hostname": host, "statusCode": 302,
            "path": {"type": "ReplaceFullPath", "replaceFullPath": uri.path()},
        });
        if let Some(port) = uri.port_u16() {
            redirect["port"] = json!(port);
        }
        Some(redirect)
    }
}
