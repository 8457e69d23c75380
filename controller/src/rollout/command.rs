//! The annotation that commands rollouts: one word for all of the object, or `RULE=WORD` for some, separated by commas.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// While it stands there, no step follows the present one.
    Pause,
    Resume,
    /// The new version gets everything, now.
    Promote,
    /// It gets nothing.
    Abort,
    /// Begin anew.
    Retry,
}

impl Command {
    const ALL: [Command; 5] =
        [Command::Pause, Command::Resume, Command::Promote, Command::Abort, Command::Retry];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Command::Pause => "pause",
            Command::Resume => "resume",
            Command::Promote => "promote",
            Command::Abort => "abort",
            Command::Retry => "retry",
        }
    }

    fn parse(word: &str) -> Result<Self, String> {
        let found = Command::ALL.into_iter().find(|command| command.as_str() == word);
        found.ok_or_else(|| format!("{word:?} is not pause, resume, promote, abort or retry"))
    }

    /// What an annotation says to a rule. The error continues the annotation's name.
    pub(super) fn of(annotation: Option<&str>, rule: &str) -> Result<Option<Self>, String> {
        for part in annotation.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None => return Command::parse(part).map(Some),
                Some((name, word)) if name.trim() == rule => return Command::parse(word.trim()).map(Some),
                Some(_) => {}
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn words() {
        for (annotation, wanted) in [
            (None, Ok(None)),
            (Some(""), Ok(None)),
            (Some("pause"), Ok(Some(Command::Pause))),
            (Some(" resume "), Ok(Some(Command::Resume))),
            (Some("orders=promote"), Ok(Some(Command::Promote))),
            (Some("users=abort, orders = retry"), Ok(Some(Command::Retry))),
            (Some("users=abort,pause"), Ok(Some(Command::Pause))),
            (Some("users=abort"), Ok(None)),
            (Some("users=nonsense"), Ok(None)),
            (Some("Pause"), Err(())),
            (Some("orders=stop"), Err(())),
        ] {
            assert_eq!(Command::of(annotation, "orders").map_err(drop), wanted, "{annotation:?}");
        }
    }
}
