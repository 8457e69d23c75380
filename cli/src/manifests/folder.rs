//! All manifests of a folder, read again when they change. A file that has not changed is not parsed again.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    admit::admit,
    problem::{Problem, Severity},
    read::documents,
};

/// Objects of this many files are kept parsed; more than anybody writes by hand.
const MOST_FILES: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// What the files held when they were last read, by path.
    files: BTreeMap<PathBuf, Parsed>,
}

#[derive(Debug, Default)]
struct Parsed {
    text: Vec<u8>,
    objects: Vec<Object>,
    problems: Vec<Problem>,
}

/// An admitted object and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) value: Value,
    pub(crate) file: String,
    pub(crate) line: u64,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Folder { path: path.to_owned(), files: BTreeMap::new() }
    }

    /// Reads what has changed. An error means that the folder itself can't be listed.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        list(&self.path, &mut found)?;
        found.truncate(MOST_FILES);
        let mut old = std::mem::take(&mut self.files);
        for path in found {
            let before = old.remove(&path).unwrap_or_default();
            let parsed = match fs::read(&path) {
                Ok(text) if text == before.text && !before.text.is_empty() => before,
                Ok(text) => parse(&path, text),
                // It went away since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Parsed {
                    problems: vec![Problem {
                        file: path.display().to_string(),
                        line: 0,
                        severity: Severity::Error,
                        message: format!("can't be read: {error}"),
                    }],
                    ..before
                },
            };
            self.files.insert(path, parsed);
        }
        Ok(())
    }

    /// In the order of files and of their documents. Of two objects with the same name the later counts, as with
    /// `kubectl apply`.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.files.values().flat_map(|parsed| &parsed.objects)
    }

    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.files.values().flat_map(|parsed| &parsed.problems)
    }

    pub(crate) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }
}

fn parse(path: &Path, text: Vec<u8>) -> Parsed {
    let file = path.display().to_string();
    let mut parsed = Parsed::default();
    for document in documents(&String::from_utf8_lossy(&text)) {
        match document {
            Err(unreadable) => parsed.problems.push(Problem {
                file: file.clone(),
                line: unreadable.line,
                severity: Severity::Error,
                message: unreadable.message,
            }),
            Ok(document) => {
                for object in document.objects() {
                    let line = object.line;
                    let (admitted, problems) = admit(&object, &file);
                    parsed.objects.extend(admitted.map(|value| Object { value, file: file.clone(), line }));
                    parsed.problems.extend(problems);
                }
            }
        }
    }
    parsed.text = text;
    parsed
}

/// Every YAML and JSON file below, in order, but for hidden ones (editors keep their copies there).
fn list(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // Follows links, as mounted ConfigMaps are made of them.
        let Ok(kind) = fs::metadata(&path) else { continue };
        if kind.is_dir() {
            list(&path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
        {
            found.push(path);
        }
    }
    Ok(())
}
