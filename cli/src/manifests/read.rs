//! YAML text to documents that remember the line of each of their fields.
//!
//! A text is cut at `---` first, so that a document that does not parse leaves its neighbours alone. Pure: no files.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// Where the document begins.
    pub(crate) line: u64,
    lines: HashMap<String, u64>,
}

/// A document that is no YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) line: u64,
    pub(crate) message: String,
}

impl Document {
    /// A value that stands in no file.
    pub(crate) fn made(value: Value) -> Self {
        Self { value, line: 0, lines: HashMap::new() }
    }

    /// The line of a field path such as `spec.rules[0].name`: its own, or that of the nearest field around it.
    pub(crate) fn line_of(&self, path: &str) -> u64 {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.line,
            }
        }
    }

    /// The objects in it: itself, or the items of a `List`.
    pub(crate) fn objects(self) -> Vec<Self> {
        let is_list = self.value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        let Some(items) = self.value["items"].as_array().filter(|_| is_list) else { return vec![self] };
        let item = |(index, value): (usize, &Value)| {
            let base = format!("items[{index}]");
            let below = |(path, line): (&String, &u64)| {
                let rest = path.strip_prefix(&base)?.strip_prefix('.')?;
                Some((rest.to_owned(), *line))
            };
            Self {
                value: value.clone(),
                line: self.line_of(&base),
                lines: self.lines.iter().filter_map(below).collect(),
            }
        };
        items.iter().enumerate().map(item).collect()
    }
}

/// Every document of `text` that is not empty.
pub(crate) fn documents(text: &str) -> Vec<Result<Document, Unreadable>> {
    pieces(text).into_iter().filter_map(|(before, piece)| document(before, piece).transpose()).collect()
}

/// The text cut at its document markers, each piece with the number of lines before it. A `---` at the beginning of a
/// line is a marker even inside a block scalar.
pub(crate) fn pieces(text: &str) -> Vec<(u64, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if marker && offset > start {
            pieces.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, number as u64);
        }
        offset += line.len();
    }
    pieces.push((start_line, &text[start..]));
    pieces
}

/// What a piece holds; `None`: nothing.
pub(crate) fn document(before: u64, piece: &str) -> Result<Option<Document>, Unreadable> {
    let is_blank = |line: &str| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        line.is_empty() || line.starts_with('#') || line == "..."
    };
    let Some(first) = piece.lines().position(|line| !is_blank(line)) else { return Ok(None) };
    let node = serde_saphyr::from_str::<Spanned<Node>>(piece).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(first as u64 + 1, |at| at.line());
        Unreadable { line: before + line, message: one_line(&error.to_string()) }
    })?;
    let mut lines = HashMap::new();
    let value = flatten(node.value, before, "", &mut lines);
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(Document { value, line: before + first as u64 + 1, lines }))
}

/// The parser's words without its position, which is said in front of them.
fn one_line(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    let message = message.split(" at line ").next().unwrap_or(message);
    message.trim_end_matches('.').to_owned()
}

/// A YAML node whose map entries know their lines.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

fn flatten(node: Node, before: u64, path: &str, lines: &mut HashMap<String, u64>) -> Value {
    match node {
        Node::Scalar(value) => value,
        Node::List(items) => {
            let item = |(index, item): (usize, Spanned<Node>)| {
                let path = format!("{path}[{index}]");
                lines.insert(path.clone(), before + item.referenced.line());
                flatten(item.value, before, &path, lines)
            };
            Value::Array(items.into_iter().enumerate().map(item).collect())
        }
        Node::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let path = super::schema::join(path, &key.value);
                lines.insert(path.clone(), before + key.referenced.line());
                map.insert(key.value, flatten(value.value, before, &path, lines));
            }
            Value::Object(map)
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Node::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::{documents, one_line};

    #[test]
    fn lines_count_across_documents_and_comments() {
        let text = "# head\n---\nkind: A\nmetadata:\n  name: a\n---\n# more\nkind: B\nspec:\n  rules:\n  - name: x\n    \
                    matches:\n    - path: /\n";
        let documents: Vec<_> =
            documents(text).into_iter().map(|document| document.expect("parses")).collect();
        assert_eq!(documents.len(), 2);
        assert_eq!((documents[0].line, documents[0].line_of("metadata.name")), (3, 5));
        assert_eq!(documents[1].line, 8);
        assert_eq!(documents[1].line_of("spec.rules"), 10);
        assert_eq!(documents[1].line_of("spec.rules[0].name"), 11);
        assert_eq!(documents[1].line_of("spec.rules[0].matches[0].path"), 13);
        assert_eq!(documents[1].line_of("spec.rules[0].filters[3].type"), 11, "the nearest field around it");
        assert_eq!(documents[1].line_of("spec.rules[7]"), 10);
    }

    #[test]
    fn a_document_that_does_not_parse_leaves_the_others() {
        let documents = documents("a: 1\n---\nb: [1,\nc: 2\n---\nd: 4\n");
        assert!(documents[0].is_ok() && documents[2].is_ok());
        let unreadable = documents[1].clone().expect_err("an unclosed list");
        assert!((3..=5).contains(&unreadable.line), "{unreadable:?}");
        assert!(!unreadable.message.contains("line"), "{unreadable:?}");
    }

    #[test]
    fn a_marker_needs_a_blank_after_it() {
        let documents = documents("a: |\n  ---x\n---text: 1\n");
        assert_eq!(documents.len(), 1);
    }

    #[test]
    fn empty_documents_are_nothing() {
        assert!(documents("").is_empty());
        assert!(documents("---\n# only words\n---\n...\n").is_empty());
    }

    #[test]
    fn types_are_those_of_json() {
        let text = "a: 1\nb: -2\nc: 1.5\nd: true\ne: null\nf: \"1\"\ng: 8080\nh: {1: x}\ni: v1\nj: 10s\n";
        let document = documents(text).remove(0).expect("parses");
        let expected = serde_json::json!({
            "a": 1, "b": -2, "c": 1.5, "d": true, "e": null, "f": "1", "g": 8080, "h": {"1": "x"}, "i": "v1", "j": "10s"
        });
        assert_eq!(document.value, expected);
    }

    #[test]
    fn anchors_and_json_are_yaml() {
        let document = documents("a: &x {b: 1}\nc: *x\n").remove(0).expect("parses");
        assert_eq!(document.value, serde_json::json!({"a": {"b": 1}, "c": {"b": 1}}));
        let document = documents("{\n\"a\": {\"b\":\n [1, 2]}}\n").remove(0).expect("parses");
        assert_eq!(document.line_of("a.b[1]"), 3);
    }

    #[test]
    fn a_key_twice_is_an_error_of_the_second() {
        let unreadable = documents("a: 1\nb: 2\na: 3\n").remove(0).expect_err("a key twice");
        assert_eq!(unreadable.line, 3, "{unreadable:?}");
    }

    #[test]
    fn a_list_holds_objects() {
        let text = "kind: List\nitems:\n- kind: A\n  x:\n    y: 1\n- kind: B\n";
        let objects = documents(text).remove(0).expect("parses").objects();
        assert_eq!(objects.len(), 2);
        assert_eq!((objects[0].line, objects[0].line_of("x.y"), objects[1].line), (3, 5, 6));
    }

    #[test]
    fn the_position_is_not_said_twice() {
        assert_eq!(one_line("duplicate mapping key: a at line 3, column 1"), "duplicate mapping key: a");
    }
}
