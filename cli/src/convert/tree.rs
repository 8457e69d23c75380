//! An input document as a tree whose every node knows where it stands, and the report that follows each of its fields.
//!
//! What is read here is marked in the [`Report`]; what nobody reads is told by it at the end. So no field of an input can
//! be dropped without a word.

use serde_json::Value;

use super::report::Report;
use crate::manifests::{read::Document, schema::join};

/// One document of an input file.
#[derive(Debug)]
pub(crate) struct Source {
    /// As the user named it; `cluster`: it stands in none.
    pub(crate) file: String,
    /// Among all documents of all files.
    pub(crate) index: usize,
    pub(crate) document: Document,
}

#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    source: &'a Source,
    path: String,
    value: &'a Value,
}

/// What a field holds, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<'a, T> {
    pub(crate) value: T,
    pub(crate) node: Node<'a>,
}

/// The fields of one object of the input. Reading a field marks it as converted exactly, until somebody says more.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a, 'r> {
    pub(crate) node: Node<'a>,
    pub(crate) report: &'r Report,
    /// Looked into, in this order, for what the object itself does not say.
    defaults: Vec<Node<'a>>,
}

impl<'a> Node<'a> {
    pub(crate) fn root(source: &'a Source) -> Self {
        Node { source, path: String::new(), value: &source.document.value }
    }

    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    pub(crate) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or("")
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn source(&self) -> usize {
        self.source.index
    }

    pub(crate) fn file(&self) -> &'a str {
        &self.source.file
    }

    pub(crate) fn line(&self) -> u64 {
        self.source.document.line_of(&self.path)
    }

    /// `FILE:LINE`.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file(), self.line())
    }

    /// `null` is as good as absent.
    pub(crate) fn get(&self, name: &str) -> Option<Node<'a>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Node { source: self.source, path: join(&self.path, name), value })
    }

    /// The items of a field; none where it is absent.
    pub(crate) fn list(&self, name: &str) -> Vec<Node<'a>> {
        self.get(name).map_or_else(Vec::new, |node| node.items())
    }

    /// Of a list; what is no list is one item.
    pub(crate) fn items(&self) -> Vec<Node<'a>> {
        match self.value {
            Value::Array(items) => {
                let item = |(index, value)| Node {
                    source: self.source,
                    path: format!("{}[{index}]", self.path),
                    value,
                };
                items.iter().enumerate().map(item).collect()
            }
            Value::Null => Vec::new(),
            _ => vec![self.clone()],
        }
    }

    pub(crate) fn fields(&self) -> Vec<(&'a str, Node<'a>)> {
        let all = self.value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let field = |(name, value): (&'a String, &'a Value)| {
            (name.as_str(), Node { source: self.source, path: join(&self.path, name), value })
        };
        all.map(field).collect()
    }

    /// Every scalar and every empty list or map at or below it.
    pub(crate) fn leaves(&self) -> Vec<Node<'a>> {
        match self.value {
            Value::Null => Vec::new(),
            Value::Array(items) if !items.is_empty() => self.items().iter().flat_map(Node::leaves).collect(),
            Value::Object(map) if !map.is_empty() => {
                self.fields().iter().flat_map(|(_, node)| node.leaves()).collect()
            }
            _ => vec![self.clone()],
        }
    }
}

impl<'a, 'r> Reader<'a, 'r> {
    pub(crate) fn new(node: Node<'a>, report: &'r Report) -> Self {
        Reader { node, report, defaults: Vec::new() }
    }

    pub(crate) fn with_defaults(mut self, defaults: impl IntoIterator<Item = Node<'a>>) -> Self {
        self.defaults.extend(defaults);
        self
    }

    /// The field, unmarked.
    pub(crate) fn find(&self, name: &str) -> Option<Node<'a>> {
        self.node.get(name).or_else(|| self.defaults.iter().find_map(|node| node.get(name)))
    }

    /// The items of a field, unmarked; none where it is absent.
    pub(crate) fn list(&self, name: &str) -> Vec<Node<'a>> {
        self.find(name).map_or_else(Vec::new, |node| node.items())
    }

    /// An object below, with the defaults for it.
    pub(crate) fn below(&self, name: &str) -> Option<Reader<'a, 'r>> {
        let node = self.find(name)?;
        let defaults = self.defaults.iter().filter_map(|node| node.get(name)).collect();
        Some(Reader { node, report: self.report, defaults })
    }

    pub(crate) fn text(&self, name: &str) -> Option<At<'a, String>> {
        self.read(name, "text", |value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    pub(crate) fn number(&self, name: &str) -> Option<At<'a, i64>> {
        self.read(name, "a whole number", |value| {
            value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
        })
    }

    pub(crate) fn flag(&self, name: &str) -> Option<At<'a, bool>> {
        self.read(name, "true or false", |value| match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.parse().ok(),
            _ => None,
        })
    }

    /// A list of texts, or one text.
    pub(crate) fn texts(&self, name: &str) -> Vec<At<'a, String>> {
        let Some(node) = self.find(name) else { return Vec::new() };
        self.report.exact(&node);
        let item = |item: Node<'a>| {
            let text = match item.value() {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => {
                    self.report.refuse(&item, "is no text, as it has to be");
                    return None;
                }
            };
            self.tell_template(&item);
            Some(At { value: text, node: item })
        };
        node.items().into_iter().filter_map(item).collect()
    }

    /// Says of fields that nothing changes by leaving them out.
    pub(crate) fn exact(&self, names: &[&str]) {
        for name in names {
            if let Some(node) = self.find(name) {
                self.report.exact(&node);
            }
        }
    }

    pub(crate) fn warn(&self, name: &str, message: &str) {
        if let Some(node) = self.find(name) {
            self.report.warn(&node, message);
        }
    }

    pub(crate) fn refuse(&self, name: &str, message: &str) {
        if let Some(node) = self.find(name) {
            self.report.refuse(&node, message);
        }
    }

    fn read<T>(&self, name: &str, form: &str, take: impl Fn(&Value) -> Option<T>) -> Option<At<'a, T>> {
        let node = self.find(name)?;
        match take(node.value()) {
            Some(value) => {
                self.report.exact(&node);
                self.tell_template(&node);
                Some(At { value, node })
            }
            None if is_template(node.text()) => {
                self.report.refuse(
                    &node,
                    "is filled in from the environment: fill it in first, as by `deck file render`",
                );
                None
            }
            None => {
                self.report.refuse(&node, format!("is not {form}, as it has to be"));
                None
            }
        }
    }

    fn tell_template(&self, node: &Node<'a>) {
        if is_template(node.text()) {
            self.report.warn(node, "is filled in from the environment, and taken as it is written: fill it in first, as by `deck file render`");
        }
    }
}

/// decK's templates, references to vaults, and what users put in by `envsubst` or `sed`.
pub(crate) fn is_template(text: &str) -> bool {
    let name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let bare = text
        .strip_prefix('$')
        .map(|text| text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text));
    text.contains("${{") || text.contains("{vault://") || bare.is_some_and(name)
}

#[cfg(test)]
mod tests {
    use super::is_template;

    #[test]
    fn templates() {
        for text in ["${{ env \"DECK_X\" }}", "$SUPABASE_ANON_KEY", "${KEY}", "{vault://env/key}"] {
            assert!(is_template(text), "{text}");
        }
        for text in ["", "$", "a$B", "$2a$10$abc", "~/a$", "key"] {
            assert!(!is_template(text), "{text}");
        }
    }
}
