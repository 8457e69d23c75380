//! A regular expression that must match the whole of a value. Users write them, so their size is bounded.

use std::fmt;

use regex::{Captures, Regex, RegexBuilder};

/// Bound on the compiled program, in bytes. A 100-alternative path pattern takes about 40 kB.
const SIZE_LIMIT: usize = 1 << 20;

#[derive(Clone)]
pub(crate) struct WholeExpression {
    source: Box<str>,
    regex: Regex,
}

/// Why a pattern can't be used, in the words of the regex library.
#[derive(Debug, thiserror::Error)]
#[error("regular expression {pattern:?}: {cause}")]
pub(crate) struct InvalidExpression {
    pattern: String,
    cause: String,
}

impl WholeExpression {
    pub(crate) fn new(pattern: &str) -> Result<Self, InvalidExpression> {
        let invalid = |cause: &dyn fmt::Display| InvalidExpression {
            pattern: pattern.chars().take(80).collect(),
            cause: cause.to_string(),
        };
        // By itself first: what closes the group below, as in `a)|(?:b`, would not match the whole.
        regex_syntax::parse(pattern).map_err(|cause| invalid(&cause))?;
        // `\z` and not `$`: a line break at the end of a value must not go unnoticed.
        let regex = RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
            .size_limit(SIZE_LIMIT)
            .build()
            .map_err(|cause| invalid(&cause))?;
        Ok(WholeExpression { source: pattern.into(), regex })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.source
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }

    /// What its groups matched.
    pub(crate) fn captures<'v>(&self, value: &'v str) -> Option<Captures<'v>> {
        self.regex.captures(value)
    }

    /// The number of a group; `None`: there is none of that name.
    pub(crate) fn group(&self, name: &str) -> Option<usize> {
        match name.parse() {
            Ok(number) => (number < self.regex.captures_len()).then_some(number),
            Err(_) => self.regex.capture_names().position(|known| known == Some(name)),
        }
    }
}

impl fmt::Debug for WholeExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}
