//! W3C Trace Context (Level 1): which trace a request belongs to.

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// 3.3.1.5 asks for at least this much to be passed on; more is dropped.
const TRACESTATE_BYTES: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace_id: u128,
    /// The client's span.
    pub(crate) parent: Option<u64>,
    /// Ours.
    pub(crate) span_id: u64,
    pub(crate) sampled: bool,
}

impl TraceContext {
    /// Continues the client's trace if there is exactly one valid `traceparent`, and begins a new one else, which is
    /// sampled with the given share. `random` gives 64 random bits.
    pub(crate) fn of(headers: &HeaderMap, sampling_ppm: u32, random: impl Fn() -> u64) -> Self {
        let span_id = random() | 1;
        let mut lines = headers.get_all(TRACEPARENT).iter();
        if let (Some(line), None) = (lines.next(), lines.next())
            && let Some((trace_id, parent, sampled)) = line.to_str().ok().and_then(parse)
        {
            return TraceContext {
                trace_id,
                parent: Some(parent),
                span_id,
                sampled: sampled && sampling_ppm > 0,
            };
        }
        let sampled = sampling_ppm > 0 && random() % 1_000_000 < u64::from(sampling_ppm);
        let trace_id = (u128::from(random()) << 64) | u128::from(random()) | 1;
        TraceContext { trace_id, parent: None, span_id, sampled }
    }

    /// Tells the backend that its parent is our span.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        let flags = u8::from(self.sampled);
        let line = format!("00-{:032x}-{:016x}-{flags:02x}", self.trace_id, self.span_id);
        if let Ok(line) = HeaderValue::try_from(line) {
            headers.insert(TRACEPARENT, line);
        }
        let too_long =
            || headers.get_all(TRACESTATE).iter().map(HeaderValue::len).sum::<usize>() > TRACESTATE_BYTES;
        if self.parent.is_none() || too_long() {
            headers.remove(TRACESTATE);
        }
    }
}

/// 3.2.2: `00-<32 hex>-<16 hex>-<2 hex>`, lower case, ids not zero. A later version may add fields at the end.
fn parse(line: &str) -> Option<(u128, u64, bool)> {
    let lower_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut fields = line.splitn(5, '-');
    let mut field = |length: usize| fields.next().filter(|text| text.len() == length && lower_hex(text));
    let (version, trace_id, parent, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    if version == "ff" || (version == "00" && fields.next().is_some()) {
        return None;
    }
    let trace_id = u128::from_str_radix(trace_id, 16).ok().filter(|id| *id != 0)?;
    let parent = u64::from_str_radix(parent, 16).ok().filter(|id| *id != 0)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some((trace_id, parent, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{TRACEPARENT, TRACESTATE, TraceContext, parse};

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_valid_lines_are_continued() {
        assert_eq!(
            parse(VALID),
            Some((0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331, true))
        );
        assert!(parse(&VALID.replacen("00", "cc", 1)).is_some(), "a later version");
        for line in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_backend_sees_our_span_in_the_clients_trace() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(VALID));
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        let context = TraceContext::of(&headers, 1, || 6);
        context.inject(&mut headers);
        assert_eq!(headers[TRACEPARENT], "00-0af7651916cd43dd8448eb211c80319c-0000000000000007-01");
        assert_eq!(headers[TRACESTATE], "a=b");
    }

    #[test]
    fn two_lines_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        let context = TraceContext::of(&headers, 1_000_000, || 6);
        assert_eq!((context.parent, context.sampled), (None, true));
        context.inject(&mut headers);
        assert!(!headers.contains_key(TRACESTATE), "it belongs to a trace that is not continued");
    }
}
