//! What commands that end say on standard output. Whoever reads it may go before its end, as `head` does.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use crate::run::RunError;

/// `false`: nobody reads any more, and there is nothing to say.
pub(crate) fn print(
    write: impl FnOnce(&mut BufWriter<StdoutLock<'_>>) -> io::Result<()>,
) -> Result<bool, RunError> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) => {
            // What is left of it can't be written either.
            drop(out.into_parts());
            if error.kind() == ErrorKind::BrokenPipe { Ok(false) } else { Err(RunError::Output(error)) }
        }
    }
}
