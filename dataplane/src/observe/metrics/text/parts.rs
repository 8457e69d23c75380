//! The parts of aggregates, as text.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use super::{Label, head};
use crate::observe::metrics::route::RouteCounts;

/// Nothing for parts that were never asked.
pub(super) fn write(out: &mut String, routes: &[Arc<RouteCounts>]) -> fmt::Result {
    let parts = routes.iter().flat_map(|route| route.parts().into_iter().map(move |part| (route, part)));
    let parts: Vec<_> = parts.filter(|(_, part)| part.ended() > 0).collect();
    let labels = |route: &RouteCounts, part: &str| {
        format!(
            "route=\"{}\",rule=\"{}\",part=\"{}\"",
            Label(route.object()),
            Label(route.rule()),
            Label(part)
        )
    };
    let name = "gatehouse_aggregate_part_duration_seconds";
    head(out, name, "summary", "Until a part of an aggregate was there or had failed.")?;
    for (route, part) in &parts {
        let labels = labels(route, part.name());
        let micros = part.microseconds();
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        writeln!(out, "{name}_sum{{{labels}}} {seconds}.{micros:06}")?;
        writeln!(out, "{name}_count{{{labels}}} {}", part.ended())?;
    }
    let name = "gatehouse_aggregate_part_failures_total";
    head(out, name, "counter", "Parts of aggregates that have failed.")?;
    for (route, part) in &parts {
        let labels = labels(route, part.name());
        for (reason, count) in part.failures() {
            writeln!(out, "{name}{{{labels},reason=\"{}\"}} {count}", reason.as_str())?;
        }
    }
    Ok(())
}
