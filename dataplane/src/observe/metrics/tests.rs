use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use regex::Regex;

use super::{super::Record, Gauges, Metrics, RouteMetrics};
use crate::{Reason, discover::Source};

/// Reads the text as strictly as a scraper does: value by series.
fn scrape(metrics: &Metrics, gauges: &Gauges) -> BTreeMap<String, f64> {
    let text = metrics.render(gauges, &[]);
    assert!(text.ends_with('\n'));
    let series = Regex::new(
        r#"^([a-z_]+)(\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\})? ([0-9.]+)$"#,
    )
    .unwrap();
    let (mut values, mut typed, mut kind) = (BTreeMap::new(), BTreeSet::new(), "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of_kind) = rest.split_once(' ').unwrap();
            assert!(typed.insert(name), "{name} has one type");
            assert_eq!(of_kind == "counter", name.ends_with("_total"), "{name}");
            kind = of_kind;
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let found = series.captures(line).unwrap_or_else(|| panic!("{line:?}"));
        let name = found.get(1).unwrap().as_str();
        assert!(name.starts_with("gatehouse_") || name.starts_with("process_"), "{name}");
        let family = match kind {
            "histogram" => {
                ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap()
            }
            "summary" => ["_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap(),
            _ => name,
        };
        assert!(typed.contains(family), "{name} has a type before it");
        let key = line.rsplit_once(' ').unwrap().0.to_owned();
        assert!(values.insert(key, found[3].parse().unwrap()).is_none(), "{line} comes once");
    }
    values
}

fn answered(route: &Arc<RouteMetrics>, status: u16, micros: u64) -> Record {
    Record {
        route: Some(Arc::clone(route)),
        status,
        duration: Duration::from_micros(micros),
        ..Record::example()
    }
}

#[test]
fn parts_are_counted_for_as_long_as_a_rule_has_them() {
    let metrics = Metrics::default();
    let route = metrics.route("GatewayRoute/ns/a", 0, "r");
    let (user, silent) = (metrics.part(&route, "user"), metrics.part(&route, "silent"));
    user.count(None, Duration::from_micros(1_500_000));
    metrics.part(&route, "user").count(Some(Reason::UpstreamTimeout), Duration::from_micros(500_001));
    let shown = scrape(&metrics, &Gauges::default());
    let labels = |name: &str| {
        format!("gatehouse_aggregate_part_{name}{{route=\"GatewayRoute/ns/a\",rule=\"r\",part=\"user\"")
    };
    assert_eq!(shown[&format!("{}}}", labels("duration_seconds_sum"))], 2.000_001);
    assert_eq!(shown[&format!("{}}}", labels("duration_seconds_count"))], 2.0);
    assert_eq!(shown[&format!("{},reason=\"upstream_timeout\"}}", labels("failures_total"))], 1.0);
    assert_eq!(shown.keys().filter(|key| key.contains("aggregate")).count(), 3, "{shown:?}");
    drop((user, silent));
    assert!(!scrape(&metrics, &Gauges::default()).keys().any(|key| key.contains("aggregate")));
}

#[test]
fn several_threads_count_right() {
    let metrics = Metrics::default();
    let held = metrics.route("HTTPRoute/ns/a", 0, "r");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let ok = answered(&held, 200, 700);
                let refused =
                    Record { route: None, status: 404, reason: Some(Reason::NoRoute), ..Record::example() };
                for _ in 0..5000 {
                    metrics.count(&ok);
                    metrics.count(&refused);
                }
            });
        }
    });
    let values = scrape(&metrics, &Gauges::default());
    let labels = "route=\"HTTPRoute/ns/a\",rule=\"r\"";
    for series in [
        &format!("gatehouse_requests_total{{{labels},code=\"200\"}}"),
        &format!("gatehouse_request_duration_seconds_bucket{{{labels},le=\"0.001\"}}"),
        &format!("gatehouse_request_duration_seconds_count{{{labels}}}"),
        "gatehouse_requests_total{route=\"\",rule=\"\",code=\"404\"}",
        "gatehouse_gateway_responses_total{reason=\"no_route\"}",
    ] {
        assert_eq!(values[series], 20_000.0, "{series}");
    }
    assert_eq!(values[&format!("gatehouse_request_duration_seconds_sum{{{labels}}}")], 14.0);
}

#[test]
fn every_status_and_duration_is_counted_once() {
    let metrics = Metrics::default();
    let statuses = (100..1000).chain([0, 99, u16::MAX]);
    let route = metrics.route("HTTPRoute/ns/a", 0, "r");
    for (status, micros) in statuses.zip((0..).step_by(20_000)) {
        metrics.count(&answered(&route, status, micros));
        metrics.count(&Record { route: None, status, ..Record::example() });
    }
    let kept = metrics.route("HTTPRoute/ns/a", 0, "kept");
    for micros in [500, 501, 10_000_000, 10_000_001] {
        metrics.count(&answered(&kept, 418, micros));
    }
    let values = scrape(&metrics, &Gauges::default());
    let sum = |prefix: &str| {
        values.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, value)| value).sum::<f64>()
    };
    assert_eq!(sum("gatehouse_requests_total{route=\"\""), 903.0);
    assert!(values.keys().filter(|key| key.starts_with("gatehouse_requests_total{route=\"\"")).count() <= 30);
    let labels = "route=\"HTTPRoute/ns/a\",rule=\"kept\"";
    assert_eq!(values[&format!("gatehouse_requests_total{{{labels},code=\"4xx\"}}")], 4.0);
    for (bound, expected) in [("0.0005", 1.0), ("0.001", 2.0), ("5", 2.0), ("10", 3.0), ("+Inf", 4.0)] {
        let key = format!("gatehouse_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}}");
        assert_eq!(values[&key], expected, "{bound}");
    }
    assert_eq!(values[&format!("gatehouse_request_duration_seconds_count{{{labels}}}")], 4.0);
    assert_eq!(values[&format!("gatehouse_request_duration_seconds_sum{{{labels}}}")], 20.001_002);
}

#[test]
fn a_rule_keeps_its_counts_while_something_holds_it() {
    let metrics = Metrics::default();
    let first = metrics.route("HTTPRoute/ns/a", 0, "");
    metrics.count(&Record { route: Some(Arc::clone(&first)), ..Record::example() });
    let line = "gatehouse_requests_total{route=\"HTTPRoute/ns/a\",rule=\"0\",code=\"200\"}";
    let (same, others) = (
        metrics.route("HTTPRoute/ns/a", 0, ""),
        [metrics.route("HTTPRoute/ns/a", 1, ""), metrics.route("GRPCRoute/ns/a", 0, "")],
    );
    drop(first);
    for route in others.into_iter().chain([Arc::clone(&same)]) {
        metrics.count(&Record { route: Some(route), ..Record::example() });
    }
    assert_eq!(scrape(&metrics, &Gauges::default())[line], 2.0);
    drop(same);
    assert!(!metrics.render(&Gauges::default(), &[]).contains("HTTPRoute/ns/a"), "forgotten with its route");
}

#[test]
fn all_handles_of_a_rule_count_together_whichever_is_first() {
    let metrics = Metrics::default();
    let handles = [(); 3].map(|()| metrics.route("HTTPRoute/ns/a", 0, ""));
    for route in &handles {
        metrics.count(&Record { route: Some(Arc::clone(route)), ..Record::example() });
    }
    let line = "gatehouse_requests_total{route=\"HTTPRoute/ns/a\",rule=\"0\",code=\"200\"}";
    assert_eq!(scrape(&metrics, &Gauges::default())[line], 3.0);
}

#[test]
fn routes_that_come_and_go_leave_nothing_behind_though_nobody_asks() {
    let metrics = Metrics::default();
    let counted = |object: String, rule| {
        let route = metrics.route(object, rule, "");
        metrics.count(&Record { route: Some(Arc::clone(&route)), ..Record::example() });
        route
    };
    let kept: Vec<_> = (0..10).map(|rule| counted("HTTPRoute/ns/kept".into(), rule)).collect();
    for name in 0..10_000 {
        counted(format!("HTTPRoute/ns/{name}"), 0);
    }
    assert!(metrics.routes.lock().known.len() < 200);
    assert_eq!(metrics.live_routes().len(), kept.len());
}

#[test]
fn labels_are_escaped() {
    let metrics = Metrics::default();
    let odd = metrics.route("a\"b\\c\nd", 0, "ü");
    metrics.count(&Record { route: Some(Arc::clone(&odd)), ..Record::example() });
    let key = "gatehouse_requests_total{route=\"a\\\"b\\\\c\\nd\",rule=\"ü\",code=\"200\"}";
    assert_eq!(scrape(&metrics, &Gauges::default())[key], 1.0);
}

#[test]
fn gauges_say_how_it_stands_now() {
    let metrics = Metrics::default();
    let (one, other) = (metrics.worker(), metrics.worker());
    one.begin();
    one.begin();
    other.begin();
    one.end();
    metrics.configured(2, SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_046_744_050));
    let gauges = Gauges {
        connections: 7,
        cache: (4096, 3),
        connected: true,
        synced: true,
        rejected: 1,
        unknown: 3,
        source: Some(Source::Disk),
        age: Some(Duration::from_millis(1500)),
    };
    let values = scrape(&metrics, &gauges);
    for (name, expected) in [
        ("requests_active", 2.0),
        ("connections_active", 7.0),
        ("cache_bytes", 4096.0),
        ("cache_evictions_total", 3.0),
        ("config_connected", 1.0),
        ("config_synced", 1.0),
        ("config_rejected_resources", 1.0),
        ("config_unknown_resources", 3.0),
        ("config_batches_total", 1.0),
        ("config_rejected_total", 2.0),
        ("config_last_update_timestamp_seconds", 1_764_046_744.05),
        ("state_source{source=\"disk\"}", 1.0),
        ("state_source{source=\"controller\"}", 0.0),
        ("state_age_seconds", 1.5),
    ] {
        assert_eq!(values[&format!("gatehouse_{name}")], expected, "{name}");
    }
}

#[test]
fn the_process_tells_what_it_uses() {
    let metrics = Metrics::default();
    let values = scrape(&metrics, &Gauges::default());
    let open = values["process_open_fds"];
    assert!(open >= 3.0 && open <= values["process_max_fds"], "{open}");
    assert!(values["process_resident_memory_bytes"] > 1e6);
    assert!(values["process_start_time_seconds"] > 1.7e9);
    assert!(values.contains_key("process_cpu_seconds_total") && values.contains_key("process_threads"));
}
