//! What is wrong with a manifest, and where: always a file, a line and a sentence.

use std::fmt;

/// One thing that a user should know about a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// The file as the user would name it. Empty: the object stands in none.
    pub(crate) file: String,
    /// Counted from 1; 0 where the file as a whole is meant.
    pub(crate) line: u64,
    pub(crate) severity: Severity,
    /// Names the object, the field and what would mend it.
    pub(crate) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The object is not used.
    Error,
    /// The object is used, but not as it is written.
    Warning,
    /// Worth knowing, and often meant.
    Note,
}

impl Severity {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.file.is_empty() {
            f.write_str(": ")?;
        }
        if self.severity != Severity::Error {
            write!(f, "{}: ", self.severity.as_str())?;
        }
        f.write_str(&self.message)
    }
}
