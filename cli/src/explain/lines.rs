//! Files of one thing a line, however large; `-` is standard input.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use crate::run::RunError;

pub(super) fn of(file: &Path) -> Result<impl Iterator<Item = Result<String, RunError>> + use<>, RunError> {
    let name = file.display().to_string();
    let failed = move |error| RunError::Lines { file: name.clone(), error };
    let lines: Box<dyn BufRead> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(file).map_err(&failed)?)),
    };
    Ok(lines.lines().map(move |line| line.map_err(&failed)))
}
