//! W3C Trace Context (Level 1): which trace a request belongs to, and whether it gets a span of ours.
//!
//! Without a span of ours the client's context goes to the backend as it is: an id in between that no span has would tear
//! the trace apart.

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// 3.3.1.5 asks for at least this much to be passed on; more is dropped.
const TRACESTATE_BYTES: usize = 512;

/// Which requests get a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// None: spans go nowhere.
    Off,
    /// Those whose client sampled them, and of those without a trace context this share, in parts per million.
    Share(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// Not 0.
    pub(crate) trace_id: u128,
    /// The client's span.
    pub(crate) parent: Option<u64>,
    /// What the backend is told as its parent: our span, or the client's where we have none. Not 0.
    pub(crate) span_id: u64,
    /// There is a span of ours, to be exported.
    pub(crate) recorded: bool,
}

impl TraceContext {
    /// Continues the client's trace if there is exactly one valid `traceparent`, and begins a new one else. `random`
    /// gives 64 random bits.
    pub(crate) fn of(headers: &HeaderMap, sampling: Sampling, random: impl Fn() -> u64) -> Self {
        let random_id = || random().max(1);
        let mut lines = headers.get_all(TRACEPARENT).iter();
        if let (Some(line), None) = (lines.next(), lines.next())
            && let Some((trace_id, parent, sampled)) = parse(line.as_bytes())
        {
            let recorded = sampled && sampling != Sampling::Off;
            let span_id = if recorded { random_id() } else { parent };
            return TraceContext { trace_id, parent: Some(parent), span_id, recorded };
        }
        let recorded = match sampling {
            Sampling::Off => false,
            Sampling::Share(ppm) => random() % 1_000_000 < u64::from(ppm),
        };
        let trace_id = (u128::from(random()) << 64) | u128::from(random_id());
        TraceContext { trace_id, parent: None, span_id: random_id(), recorded }
    }

    /// Tells the backend its parent.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        if self.recorded || self.parent.is_none() {
            let mut line = *b"00-................................-................-00";
            line[3..35].copy_from_slice(&self.trace_id_hex());
            line[36..52].copy_from_slice(&self.span_id_hex());
            line[54] += u8::from(self.recorded);
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                headers.insert(TRACEPARENT, line);
            }
        }
        let too_long =
            || headers.get_all(TRACESTATE).iter().map(HeaderValue::len).sum::<usize>() > TRACESTATE_BYTES;
        if self.parent.is_none() || too_long() {
            headers.remove(TRACESTATE);
        }
    }

    pub(super) fn trace_id_hex(&self) -> [u8; 32] {
        hex(self.trace_id.to_be_bytes())
    }

    pub(super) fn span_id_hex(&self) -> [u8; 16] {
        hex(self.span_id.to_be_bytes())
    }
}

/// Two lower-case digits a byte. `DIGITS` is twice `BYTES`.
pub(super) fn hex<const BYTES: usize, const DIGITS: usize>(bytes: [u8; BYTES]) -> [u8; DIGITS] {
    const { assert!(DIGITS == 2 * BYTES) };
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    let mut digits = [0; DIGITS];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = digit(byte >> 4);
        pair[1] = digit(byte & 15);
    }
    digits
}

/// 3.2.2: `00-<32 hex>-<16 hex>-<2 hex>`, lower case, ids not zero. A later version may add fields at the end. Gives the
/// trace, the parent and whether it is sampled.
fn parse(line: &[u8]) -> Option<(u128, u64, bool)> {
    const LENGTH: usize = 55;
    let (known, rest) = line.split_at_checked(LENGTH)?;
    let (version, rest_begins) = (&known[..2], rest.first());
    let ends_well = match rest_begins {
        None => true,
        Some(byte) => version != b"00" && *byte == b'-',
    };
    if !ends_well || known[2] != b'-' || known[35] != b'-' || known[52] != b'-' || version == b"ff" {
        return None;
    }
    number(version)?;
    let trace_id = number(&known[3..35]).filter(|id| *id != 0)?;
    let parent = number(&known[36..52]).filter(|id| *id != 0)?;
    let flags = number(&known[53..])?;
    Some((trace_id, u64::try_from(parent).ok()?, flags & 1 == 1))
}

fn number(lower_hex: &[u8]) -> Option<u128> {
    lower_hex.iter().try_fold(0, |number: u128, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::{Sampling, TRACEPARENT, TRACESTATE, TraceContext, parse};

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    const ALL: Sampling = Sampling::Share(1_000_000);

    fn headers(traceparent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::try_from(traceparent).unwrap());
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        headers
    }

    #[test]
    fn only_valid_lines_are_continued() {
        let ids = (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331);
        for (line, sampled) in [
            (VALID.to_owned(), true),
            (UNSAMPLED.to_owned(), false),
            (VALID.replacen("00", "cc", 1), true),
            (format!("{}-later-fields", VALID.replacen("00", "cc", 1)), true),
            (VALID.replace("-01", "-ff"), true),
            (VALID.replace("-01", "-02"), false),
        ] {
            assert_eq!(parse(line.as_bytes()), Some((ids.0, ids.1, sampled)), "{line}");
        }
        for line in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.extra",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c0-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_parser(line in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            if let Some((trace_id, parent, _)) = parse(&line) {
                prop_assert!(trace_id != 0 && parent != 0);
            }
        }

        #[test]
        fn what_is_sent_reads_back(numbers: [u64; 4], ppm in 0..=1_000_000_u32) {
            let next = std::cell::Cell::new(0);
            let random = || numbers[next.replace((next.get() + 1) % 4)];
            let context = TraceContext::of(&HeaderMap::new(), Sampling::Share(ppm), random);
            let mut sent = HeaderMap::new();
            context.inject(&mut sent);
            let read = parse(sent[TRACEPARENT].as_bytes());
            prop_assert_eq!(read, Some((context.trace_id, context.span_id, context.recorded)));
        }
    }

    #[test]
    fn the_backend_sees_our_span_in_the_clients_trace() {
        // A share of nothing concerns only requests without a context.
        let mut headers = headers(VALID);
        TraceContext::of(&headers, Sampling::Share(0), || 6).inject(&mut headers);
        assert_eq!(headers[TRACEPARENT], "00-0af7651916cd43dd8448eb211c80319c-0000000000000006-01");
        assert_eq!(headers[TRACESTATE], "a=b");
    }

    #[test]
    fn without_a_span_of_ours_the_context_passes_as_it_is() {
        let later = format!("{VALID}-more").replacen("00", "cc", 1);
        for (line, sampling) in [(VALID, Sampling::Off), (UNSAMPLED, ALL), (&*later, Sampling::Off)] {
            let mut headers = headers(line);
            let context = TraceContext::of(&headers, sampling, || 6);
            context.inject(&mut headers);
            assert!(!context.recorded);
            assert_eq!(headers[TRACEPARENT], line);
            assert_eq!(headers[TRACESTATE], "a=b");
            assert_eq!(context.span_id, 0xb7ad_6b71_6920_3331, "the log names what the backend sees");
        }
    }

    #[test]
    fn a_bad_context_is_replaced() {
        let mut two = headers(VALID);
        two.append(TRACEPARENT, HeaderValue::from_static(VALID));
        for mut headers in [two, headers("garbage")] {
            let context = TraceContext::of(&headers, ALL, || 6);
            assert_eq!((context.parent, context.recorded), (None, true));
            context.inject(&mut headers);
            assert_eq!(headers[TRACEPARENT], "00-00000000000000060000000000000006-0000000000000006-01");
            assert!(!headers.contains_key(TRACESTATE), "it belongs to a trace that is not continued");
        }
    }

    #[test]
    fn ids_are_not_zero_and_off_begins_unsampled() {
        let context = TraceContext::of(&HeaderMap::new(), Sampling::Off, || 0);
        assert!(context.trace_id != 0 && context.span_id != 0 && !context.recorded);
    }

    #[test]
    fn a_share_is_a_share() {
        let random = super::super::random::Random::from_seed(7);
        let recorded = |ppm| {
            let of = |_: &u32| {
                TraceContext::of(&HeaderMap::new(), Sampling::Share(ppm), || random.next()).recorded
            };
            (0..10_000).filter(of).count()
        };
        assert_eq!((recorded(0), recorded(1_000_000)), (0, 10_000));
        assert!((2_300..2_700).contains(&recorded(250_000)));
    }

    #[test]
    fn a_long_tracestate_is_dropped_whole() {
        let mut headers = headers(VALID);
        headers.append(TRACESTATE, HeaderValue::try_from(format!("c={}", "d".repeat(510))).unwrap());
        TraceContext::of(&headers, ALL, || 6).inject(&mut headers);
        assert!(!headers.contains_key(TRACESTATE));
    }
}
