//! Shows metrics in Prometheus' text format 0.0.4.

mod parts;

use std::{
    fmt::{self, Write as _},
    sync::{Arc, atomic::Ordering},
};

use super::{
    Gauges, Metrics, process,
    route::{BUCKETS, RouteCounts},
};
use crate::{Reason, discover::Source, upstream::Standing};

impl Metrics {
    /// The text that `/metrics` serves. Takes time in proportion to the routes that had requests.
    pub(crate) fn render(&self, gauges: &Gauges, watched: &[Standing]) -> String {
        let mut out = String::new();
        // Writing to a string never fails.
        let _ = self.write(&mut out, gauges).and_then(|()| write_services(&mut out, watched));
        out
    }

    fn write(&self, out: &mut String, gauges: &Gauges) -> fmt::Result {
        let mut routes = vec![Arc::clone(&self.unrouted)];
        routes.extend(self.live_routes());
        self.write_routes(out, &routes)?;
        parts::write(out, &routes)?;
        write_cached(out, &routes)?;

        let name = "gatehouse_gateway_responses_total";
        head(
            out,
            name,
            "counter",
            "Requests that the gateway answered by itself, and requests and streams that broke off, by reason.",
        )?;
        for (reason, counter) in Reason::ALL.iter().zip(&self.reasons.0) {
            writeln!(out, "{name}{{reason=\"{}\"}} {}", reason.as_str(), counter.get())?;
        }
        for (name, help, counter) in [
            ("gatehouse_connections_total", "Client connections that were accepted.", &self.connections),
            (
                "gatehouse_connections_refused_total",
                "Client connections that were closed because there were too many.",
                &self.connections_refused,
            ),
            (
                "gatehouse_access_log_dropped_total",
                "Log lines that were lost because the output was slow or broken.",
                &self.log_dropped,
            ),
            ("gatehouse_spans_dropped_total", "Spans that could not be exported.", &self.spans_dropped),
            (
                "gatehouse_rate_limit_store_failures_total",
                "Decisions on limits that were made without the store.",
                &self.store_failures,
            ),
            (
                "gatehouse_external_auth_failures_total",
                "Questions whether a request may pass that nobody answered.",
                &self.external_auth_failures,
            ),
            (
                "gatehouse_mirrored_requests_total",
                "Copies of requests that a backend has answered.",
                &self.mirrored,
            ),
            (
                "gatehouse_mirrored_requests_lost_total",
                "Copies of requests that were not sent, or not answered in time.",
                &self.mirrored_lost,
            ),
            (
                "gatehouse_retries_refused_total",
                "Retries that a Service's retryConstraint had no room for.",
                &self.retries_refused,
            ),
            (
                "gatehouse_dns_lookups_total",
                "Questions to DNS for the addresses of backends that are names.",
                &self.dns_lookups,
            ),
            (
                "gatehouse_dns_lookup_failures_total",
                "Those of them that no DNS server answered.",
                &self.dns_lookup_failures,
            ),
            (
                "gatehouse_dns_addresses_refused_total",
                "Addresses in their answers that must not be connected to.",
                &self.dns_addresses_refused,
            ),
            (
                "gatehouse_config_batches_total",
                "Batches of configuration that were applied.",
                &self.config_batches,
            ),
            (
                "gatehouse_config_rejected_total",
                "Resources whose content was refused when it came.",
                &self.config_refused,
            ),
            (
                "gatehouse_state_write_failures_total",
                "Writes of the last good state to disk that failed.",
                &self.state_write_failures,
            ),
            (
                "gatehouse_state_files_ignored_total",
                "States on disk that could not be used at the start.",
                &self.state_files_ignored,
            ),
        ] {
            single(out, name, "counter", help, counter.get())?;
        }
        self.write_limits(out)?;
        self.write_gauges(out, gauges)?;
        process::write(out)
    }

    fn write_limits(&self, out: &mut String) -> fmt::Result {
        let name = "gatehouse_rate_limit_decisions_total";
        head(out, name, "counter", "Requests that met a limit, by what it said.")?;
        for handle in self.limits.live() {
            let (policy, limit) = (Label(handle.policy()), Label(handle.limit()));
            for (outcome, counter) in handle.outcomes() {
                let count = counter.get();
                writeln!(
                    out,
                    "{name}{{policy=\"{policy}\",limit=\"{limit}\",outcome=\"{outcome}\"}} {count}"
                )?;
            }
        }
        Ok(())
    }

    fn write_routes(&self, out: &mut String, routes: &[Arc<RouteCounts>]) -> fmt::Result {
        let name = "gatehouse_requests_total";
        head(out, name, "counter", "Requests that have ended.")?;
        for route in routes {
            let (object, rule) = (Label(route.object()), Label(route.rule()));
            for (code, count) in route.responses() {
                writeln!(out, "{name}{{route=\"{object}\",rule=\"{rule}\",code=\"{code}\"}} {count}")?;
            }
        }
        let name = "gatehouse_request_duration_seconds";
        head(out, name, "histogram", "From a request's head to the end of its response.")?;
        for route in routes {
            write_histogram(out, name, route)?;
        }
        let streams: Vec<_> = routes.iter().filter_map(|route| Some((route, route.streams()?))).collect();
        let name = "gatehouse_streams_total";
        head(out, name, "counter", "Streams that have ended.")?;
        for (route, [ended, ..]) in &streams {
            let (object, rule) = (Label(route.object()), Label(route.rule()));
            writeln!(out, "{name}{{route=\"{object}\",rule=\"{rule}\"}} {ended}")?;
        }
        let name = "gatehouse_stream_bytes_total";
        head(out, name, "counter", "Bytes of streams that have ended: from the client, and to it.")?;
        for (route, [_, received, sent]) in &streams {
            let (object, rule) = (Label(route.object()), Label(route.rule()));
            for (direction, bytes) in [("received", received), ("sent", sent)] {
                writeln!(
                    out,
                    "{name}{{route=\"{object}\",rule=\"{rule}\",direction=\"{direction}\"}} {bytes}"
                )?;
            }
        }
        Ok(())
    }

    fn write_gauges(&self, out: &mut String, gauges: &Gauges) -> fmt::Result {
        let updated = self.config_updated.load(Ordering::Relaxed);
        for (name, help, value) in [
            (
                "gatehouse_requests_active",
                "Requests that have begun and not ended, WebSockets among them.",
                self.active(),
            ),
            (
                "gatehouse_cache_bytes",
                "What answers that are kept take, with those that are still coming.",
                gauges.cache.0,
            ),
            ("gatehouse_connections_active", "Client connections that are open.", gauges.connections as u64),
            (
                "gatehouse_config_connected",
                "1 while there is a channel to the controller.",
                gauges.connected.into(),
            ),
            ("gatehouse_config_synced", "1 once a whole configuration was applied.", gauges.synced.into()),
            (
                "gatehouse_config_rejected_resources",
                "Resources that can't be used now.",
                gauges.rejected as u64,
            ),
            (
                "gatehouse_config_unknown_resources",
                "Resources that are held and of a kind that this version does not know.",
                gauges.unknown as u64,
            ),
        ] {
            single(out, name, "gauge", help, value)?;
        }
        single(
            out,
            "gatehouse_cache_evictions_total",
            "counter",
            "Answers that were kept and had to make room for others.",
            gauges.cache.1,
        )?;
        let (seconds, millis) = (updated / 1000, updated % 1000);
        single(
            out,
            "gatehouse_config_last_update_timestamp_seconds",
            "gauge",
            "When the last batch of configuration was applied, in Unix time; 0 before the first.",
            format_args!("{seconds}.{millis:03}"),
        )?;
        let name = "gatehouse_state_source";
        head(out, name, "gauge", "1 for where the first whole configuration came from.")?;
        for source in Source::ALL {
            let here = u8::from(gauges.source == Some(source));
            writeln!(out, "{name}{{source=\"{source}\"}} {here}")?;
        }
        if let Some(age) = gauges.age {
            single(
                out,
                "gatehouse_state_age_seconds",
                "gauge",
                "Since the controller last confirmed the configuration in force.",
                format_args!("{:.3}", age.as_secs_f64()),
            )?;
        }
        head(out, "gatehouse_build_info", "gauge", "The version that runs.")?;
        writeln!(out, "gatehouse_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))
    }
}

/// Of rules that keep answers.
fn write_cached(out: &mut String, routes: &[Arc<RouteCounts>]) -> fmt::Result {
    let name = "gatehouse_cache_requests_total";
    head(out, name, "counter", "Requests of rules that keep answers, by what they got.")?;
    for (route, counts) in routes.iter().filter_map(|route| Some((route, route.cached()?))) {
        let (object, rule) = (Label(route.object()), Label(route.rule()));
        for (result, count) in counts {
            let result = result.as_str();
            writeln!(out, "{name}{{route=\"{object}\",rule=\"{rule}\",result=\"{result}\"}} {count}")?;
        }
    }
    Ok(())
}

/// Of Services whose endpoints are watched.
fn write_services(out: &mut String, watched: &[Standing]) -> fmt::Result {
    let name = "gatehouse_service_endpoints";
    head(out, name, "gauge", "Endpoints of a Service that has health checks, by what they are fit for.")?;
    for Standing { service, ready, ejected, unhealthy, .. } in watched {
        for (state, count) in [("ready", ready), ("ejected", ejected), ("unhealthy", unhealthy)] {
            writeln!(out, "{name}{{service=\"{}\",state=\"{state}\"}} {count}", Label(service))?;
        }
    }
    let name = "gatehouse_service_ejections_total";
    head(out, name, "counter", "Times that an endpoint of a Service was ejected because it failed.")?;
    for Standing { service, ejections, .. } in watched {
        writeln!(out, "{name}{{service=\"{}\"}} {ejections}", Label(service))?;
    }
    Ok(())
}

/// Nothing for a route without requests: most of a large table is silent.
fn write_histogram(out: &mut String, name: &str, route: &RouteCounts) -> fmt::Result {
    let (buckets, beyond) = route.durations();
    let total = buckets.iter().sum::<u64>() + beyond;
    if total == 0 {
        return Ok(());
    }
    let (object, rule) = (Label(route.object()), Label(route.rule()));
    let mut sum = 0;
    for ((_, bound), count) in BUCKETS.iter().zip(buckets) {
        sum += count;
        writeln!(out, "{name}_bucket{{route=\"{object}\",rule=\"{rule}\",le=\"{bound}\"}} {sum}")?;
    }
    writeln!(out, "{name}_bucket{{route=\"{object}\",rule=\"{rule}\",le=\"+Inf\"}} {total}")?;
    let micros = route.microseconds();
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    writeln!(out, "{name}_sum{{route=\"{object}\",rule=\"{rule}\"}} {seconds}.{micros:06}")?;
    writeln!(out, "{name}_count{{route=\"{object}\",rule=\"{rule}\"}} {total}")
}

pub(super) fn single(
    out: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    value: impl fmt::Display,
) -> fmt::Result {
    head(out, name, kind, help)?;
    writeln!(out, "{name} {value}")
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// A label's value, escaped.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
