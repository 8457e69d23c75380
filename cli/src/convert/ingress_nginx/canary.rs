//! Ingresses that take a share of the requests of another.

use serde_json::{Value, json};

use super::{Conversion, input::Target};

/// Parts of the whole, if nobody says more.
const TOTAL: i64 = 100;

/// One that has a path in common with another Ingress.
#[derive(Debug, Clone)]
pub(super) struct Canary {
    /// Position of its Ingress.
    pub(super) ingress: usize,
    pub(super) target: Option<Target>,
}

/// Which requests are decided about, and how.
#[derive(Debug)]
pub(super) struct Choices {
    /// Conditions on headers, in their order, and whether who fulfils them goes to the canary.
    pub(super) forced: Vec<(Value, bool)>,
    /// Weights of the other and of the canary for all the rest.
    pub(super) weights: (i64, i64),
}

impl<'a> Conversion<'a, '_> {
    pub(super) fn choices(&self, canary: &Canary) -> Choices {
        let ingress = &self.input.ingresses[canary.ingress];
        let annotations = ingress.annotations(self.report, &self.options.without);
        let mut forced = Vec::new();
        let value = annotations.filled("canary-by-header-value");
        let pattern = annotations.filled("canary-by-header-pattern");
        if let Some(header) = annotations.filled("canary-by-header") {
            let exactly = |text: &str| json!({"name": header.value, "value": text});
            match (value, pattern) {
                (Some(value), _) => forced.push((exactly(&value.value), true)),
                (None, Some(pattern)) => match regex_syntax::parse(&pattern.value) {
                    Ok(_) => forced.push((expression(&header.value, &format!("(?s).*(?:{}).*", pattern.value)), true)),
                    Err(_) => self.report.refuse(
                        &pattern.node,
                        "is not converted: there is no look-around and no reference back. Who it is for goes by cookie and weight",
                    ),
                },
                (None, None) => forced.extend([(exactly("always"), true), (exactly("never"), false)]),
            }
        }
        if let Some(cookie) = annotations.filled("canary-by-cookie") {
            let name = regex_syntax::escape(&cookie.value);
            let says = |word: &str| expression("Cookie", &format!("(?:.*; *)?{name}={word}(?: *;.*)?"));
            forced.extend([(says("always"), true), (says("never"), false)]);
        }
        let total = annotations.number("canary-weight-total").map_or(TOTAL, |at| at.value).max(TOTAL);
        let weight = annotations.number("canary-weight").map_or(0, |at| at.value).clamp(0, total);
        Choices { forced, weights: (total - weight, weight) }
    }
}

fn expression(name: &str, pattern: &str) -> Value {
    json!({"name": name, "type": "RegularExpression", "value": pattern})
}
