//! The `Date` field of a response that came without one (RFC 9110, 6.6.1).

use std::{
    cell::RefCell,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

thread_local! {
    /// Formatting costs more than the rest of a head, so each worker remembers the current second.
    static LINE: RefCell<Line> = RefCell::default();
}

#[derive(Debug, Default)]
struct Line {
    second: Duration,
    /// With its line end; empty before the first use.
    text: String,
}

/// Appends the whole line.
pub(super) fn append(out: &mut Vec<u8>, now: SystemTime) {
    LINE.with_borrow_mut(|line| out.extend_from_slice(line.at(now).as_bytes()));
}

impl Line {
    fn at(&mut self, now: SystemTime) -> &str {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = Duration::from_secs(since.as_secs());
        if self.second != second || self.text.is_empty() {
            self.second = second;
            let stamp =
                i64::try_from(since.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok());
            // Years that the format can't hold are far off.
            let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&stamp.unwrap_or_default());
            self.text = date.map_or_else(|_| String::new(), |date| format!("date: {date}\r\n"));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::append;

    #[test]
    fn it_is_the_time_of_the_second() {
        for (seconds, text) in [
            (784_111_777.9, "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            (784_111_777.1, "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            (784_111_778.0, "date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"),
            (0.0, "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
        ] {
            let mut out = Vec::new();
            append(&mut out, SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds));
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
