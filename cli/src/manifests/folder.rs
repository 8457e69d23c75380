//! All manifests of a folder, read again when they change. A file that has not changed is not parsed again.
//!
//! As with `kubectl apply`, an object that is refused leaves what was there before under its name. A file that can't be
//! read or parsed, or that is empty because its writer has only begun, leaves all that it held.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use gatehouse_controller::parallel::in_parallel;
use serde_json::Value;

use super::{
    admit::admit,
    identity::Identity,
    problem::{Problem, Severity},
    read::{Document, Unreadable, document, pieces},
};

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// What the files held when they were last read, by path.
    files: BTreeMap<PathBuf, Parsed>,
    /// Objects that stand in more than one place.
    repeated: Vec<Problem>,
}

#[derive(Debug, Clone, Default)]
struct Parsed {
    text: Vec<u8>,
    objects: Vec<Object>,
    /// Objects that the file means to hold, and that are not right.
    refused: BTreeSet<Identity>,
    problems: Vec<Problem>,
}

/// An admitted object and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) identity: Identity,
    pub(crate) value: Value,
    pub(crate) file: String,
    pub(crate) line: u64,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Folder { path: path.to_owned(), files: BTreeMap::new(), repeated: Vec::new() }
    }

    /// Objects that stand in no file, and that whoever has them has checked.
    pub(crate) fn of_objects(objects: Vec<Value>) -> Self {
        let object =
            |value: Value| Object { identity: Identity::of(&value), value, file: String::new(), line: 0 };
        let objects = objects.into_iter().map(object).collect();
        let files = BTreeMap::from([(PathBuf::new(), Parsed { objects, ..Parsed::default() })]);
        Folder { path: PathBuf::new(), files, repeated: Vec::new() }
    }

    /// Reads what has changed, and tells whether anything has.
    ///
    /// # Errors
    /// The folder itself can't be listed. What was read before stays.
    pub(crate) fn read(&mut self) -> io::Result<bool> {
        let mut found = Vec::new();
        list(&self.path, &mut found)?;
        let mut old = std::mem::take(&mut self.files);
        let mut changed = false;
        let mut fresh = Vec::new();
        for path in found {
            let before = old.remove(&path);
            match (fs::read(&path), before) {
                (Ok(text), Some(before)) if text == before.text => {
                    self.files.insert(path, before);
                }
                // It went away since it was listed.
                (Err(error), before) if error.kind() == io::ErrorKind::NotFound => {
                    changed |= before.is_some();
                }
                (text, before) => fresh.push((path, text, before.unwrap_or_default())),
            }
        }
        changed |= !fresh.is_empty();
        let held = held(&fresh);
        for ((path, text, before), held) in fresh.into_iter().zip(held) {
            let parsed = parse(&path, text, before, held);
            self.files.insert(path, parsed);
        }
        changed |= !old.is_empty();
        if changed {
            self.repeated = repeated(self.objects());
        }
        Ok(changed)
    }

    /// In the order of files and of their documents. Of two objects with the same name the later counts, as with
    /// `kubectl apply`.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.files.values().flat_map(|parsed| &parsed.objects)
    }

    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.files.values().flat_map(|parsed| &parsed.problems).chain(&self.repeated)
    }

    /// There is a manifest of that name, and it is not right.
    pub(crate) fn has_refused(&self, identity: &Identity) -> bool {
        self.files.values().any(|parsed| parsed.refused.contains(identity))
    }

    pub(crate) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }
}

/// A file that is new or has changed, what can be read of it, and what it held before.
type Fresh = (PathBuf, io::Result<Vec<u8>>, Parsed);

/// What a document of a file holds.
type Held = Result<Vec<Admitted>, Unreadable>;

/// An object of a document, and what is to be said of it. `None`: it is refused.
struct Admitted {
    identity: Identity,
    line: u64,
    value: Option<Value>,
    problems: Vec<Problem>,
}

/// The documents of each file. All are read at once, by their number and not by their files': a folder may be one file.
fn held(files: &[Fresh]) -> Vec<Vec<Held>> {
    let texts = files.iter().map(|(path, text, _)| {
        let text = text.as_ref().map_or(Cow::Borrowed(""), |text| String::from_utf8_lossy(text));
        (path.display().to_string(), text)
    });
    let texts: Vec<(String, Cow<'_, str>)> = texts.collect();
    let pieces = texts.iter().enumerate().flat_map(|(index, (file, text))| {
        pieces(text).into_iter().map(move |(before, piece)| (index, file, before, piece))
    });
    let pieces: Vec<_> = pieces.collect();
    let read = in_parallel(&pieces, |(_, file, before, piece)| {
        let admitted = |object: Document| {
            let (value, problems) = admit(&object, file);
            Admitted { identity: Identity::of(&object.value), line: object.line, value, problems }
        };
        match document(*before, piece) {
            Ok(document) => Ok(document.into_iter().flat_map(Document::objects).map(admitted).collect()),
            Err(unreadable) => Err(unreadable),
        }
    });
    let mut held: Vec<Vec<Held>> = files.iter().map(|_| Vec::new()).collect();
    for ((index, ..), document) in pieces.iter().zip(read) {
        held[*index].push(document);
    }
    held
}

fn parse(path: &Path, text: io::Result<Vec<u8>>, before: Parsed, held: Vec<Held>) -> Parsed {
    let file = path.display().to_string();
    let problem =
        |line, message: String| Problem { file: file.clone(), line, severity: Severity::Error, message };
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            // Forgetting the text makes the next reading try again.
            let problems = vec![problem(0, format!("can't be read: {error}"))];
            return Parsed { text: Vec::new(), problems, ..before };
        }
    };
    let mut parsed = Parsed::default();
    let mut keep_all = text.is_empty() && !before.objects.is_empty();
    if keep_all {
        parsed.problems.push(problem(0, "is empty: remove it to remove what it held".to_owned()));
    }
    for document in held {
        match document {
            Err(unreadable) => {
                keep_all = true;
                parsed.problems.push(problem(unreadable.line, unreadable.message));
            }
            Ok(admitted) => {
                for Admitted { identity, line, value, problems } in admitted {
                    parsed.problems.extend(problems);
                    match value {
                        Some(value) => {
                            parsed.objects.push(Object { identity, value, file: file.clone(), line });
                        }
                        None => {
                            parsed.refused.insert(identity);
                        }
                    }
                }
            }
        }
    }
    let renewed: BTreeSet<Identity> = parsed.objects.iter().map(|object| object.identity.clone()).collect();
    let stays = |object: &Object| {
        !renewed.contains(&object.identity) && (keep_all || parsed.refused.contains(&object.identity))
    };
    let staying: Vec<Object> = before.objects.into_iter().filter(stays).collect();
    parsed.objects.extend(staying);
    parsed.text = text;
    parsed
}

fn repeated<'a>(objects: impl Iterator<Item = &'a Object>) -> Vec<Problem> {
    let mut seen: BTreeMap<&Identity, &Object> = BTreeMap::new();
    let mut problems = Vec::new();
    for object in objects {
        if let Some(first) = seen.insert(&object.identity, object) {
            problems.push(Problem {
                file: object.file.clone(),
                line: object.line,
                severity: Severity::Warning,
                message: format!("{} takes the place of {}:{}", object.identity, first.file, first.line),
            });
        }
    }
    problems
}

/// Every YAML and JSON file below, in order, but for hidden ones (editors keep their copies there).
pub(crate) fn list(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // Mounted ConfigMaps are links to files. A link to a folder could lead in a circle.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            match list(&path, found) {
                // It went away since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                listed => listed?,
            }
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
        {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
