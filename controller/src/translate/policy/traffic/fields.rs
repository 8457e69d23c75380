//! Fields that are numbers or durations. The error names the field.

use std::ops::RangeInclusive;

use gatehouse_crds::parse_duration;

pub(super) fn number(field: &str, value: i32, range: &RangeInclusive<u32>) -> Result<u32, String> {
    let value = u32::try_from(value).ok().filter(|value| range.contains(value));
    value.ok_or_else(|| format!("{field}: use {} to {}", range.start(), range.end()))
}

/// Milliseconds; up to an hour.
pub(super) fn duration(field: &str, text: &str, least: u64, shown: &str) -> Result<u64, String> {
    let duration = parse_duration(text).map_err(|error| format!("{field}: {error}"))?;
    let milliseconds = u64::try_from(duration.as_millis()).ok();
    let milliseconds = milliseconds.filter(|count| (least..=3_600_000).contains(count));
    milliseconds.ok_or_else(|| format!("{field} is {text}: use {shown} to 1h"))
}
