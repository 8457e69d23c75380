//! What is known of JWKS URLs. Labels come from AuthPolicies, without what could be a secret in them.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
    registry::Unit,
};
use tokio::sync::watch;

use crate::fetch::JwksState;

#[derive(Debug)]
pub(super) struct Jwks(pub(super) watch::Receiver<BTreeMap<String, JwksState>>);

impl Collector for Jwks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let states = self.0.borrow().clone();
        let now = Timestamp::now();
        let ages = states.iter().filter_map(|(id, state)| {
            let age = now.duration_since(state.fetched_at?).as_secs_f64();
            Some((label(id), age.max(0.0)))
        });
        let failing = states.iter().map(|(id, state)| (label(id), i64::from(state.error.is_some())));
        {
            let (name, help) = ("jwks_age", "Since the keys behind a URL were last fetched");
            let kind = ConstGauge::new(0.0).metric_type();
            let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), kind)?;
            for (url, age) in ages {
                ConstGauge::new(age).encode(family.encode_family(&[("url", url)])?)?;
            }
        }
        let (name, help) = ("jwks_failing", "1 while the last fetch of a URL has failed");
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor(name, help, None, kind)?;
        for (url, failing) in failing {
            ConstGauge::new(failing).encode(family.encode_family(&[("url", url)])?)?;
        }
        Ok(())
    }
}

/// A user, a password and a query may be what opens the URL.
fn label(id: &str) -> String {
    let (url, authorities) = id.split_once(' ').unwrap_or((id, ""));
    let Ok(mut url) = url::Url::parse(url) else { return String::new() };
    url.set_query(None);
    url.set_fragment(None);
    // Fails only where there can't be any.
    let _ = (url.set_username(""), url.set_password(None));
    if authorities.is_empty() { url.into() } else { format!("{url} {authorities}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use tokio::sync::watch;

    use crate::{fetch::JwksState, metrics::Metrics};

    #[test]
    fn ages_and_failures_are_told_by_url() {
        let state = |fetched_at: Option<Timestamp>, error: Option<&str>| JwksState {
            document: None,
            fetched_at,
            error: error.map(str::to_owned),
        };
        let long_ago = Timestamp::now() - jiff::SignedDuration::from_secs(100);
        let states = BTreeMap::from([
            ("https://user:secret@a.example/jwks?token=secret".to_owned(), state(Some(long_ago), Some("no"))),
            ("https://b.example/jwks 0123456789abcdef".to_owned(), state(None, None)),
        ]);
        let (_sender, receiver) = watch::channel(states);
        let mut metrics = Metrics::default();
        metrics.show_jwks(receiver);
        let text = metrics.render();
        assert!(!text.contains("secret"), "{text}");
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).map(str::to_owned);
        let age = line("gatehouse_controller_jwks_age_seconds{url=\"https://a.example/jwks\"}").unwrap();
        assert!(age.rsplit(' ').next().unwrap().parse::<f64>().unwrap() >= 100.0, "{age}");
        assert_eq!(line("gatehouse_controller_jwks_age_seconds{url=\"https://b.example"), None, "{text}");
        for wanted in [
            "gatehouse_controller_jwks_failing{url=\"https://a.example/jwks\"} 1",
            "gatehouse_controller_jwks_failing{url=\"https://b.example/jwks 0123456789abcdef\"} 0",
        ] {
            assert_eq!(line(wanted).as_deref(), Some(wanted), "{text}");
        }
    }
}
