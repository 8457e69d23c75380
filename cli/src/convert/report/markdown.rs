//! The report for people: what to do first, then what changes, then what does not.

use std::fmt::Write;

use super::{Counts, Entry, Verdict};

/// What configurations come from.
#[derive(Debug)]
pub(crate) struct Origin {
    /// As people call it.
    pub(crate) title: &'static str,
    /// How the Gateway is called, unless the user says otherwise.
    pub(crate) gateway: &'static str,
    /// What is different for every request, whatever the configuration says.
    pub(crate) always: &'static [&'static str],
}

/// # Panics
/// Never: writing to a text can't fail.
pub(crate) fn markdown(origin: &Origin, inputs: &[String], entries: &[Entry]) -> String {
    let counts = Counts::of(entries);
    let mut text = format!("# From {} to Gatehouse\n\nRead: {}.\n\n", origin.title, inputs.join(", "));
    let _ = writeln!(
        text,
        "{} fields are converted exactly, {} with a change, {} are not converted.\n",
        counts.exact, counts.warning, counts.refused
    );
    section(&mut text, "Not converted", "Look at each of these first.", entries, Verdict::Refused);
    section(&mut text, "Converted, with a change", "", entries, Verdict::Warning);
    text.push_str("## What changes for every request\n\n");
    for line in origin.always {
        let _ = writeln!(text, "- {line}");
    }
    text.push_str("\nEvery field, those that are converted exactly among them, is in report.json.\n");
    text
}

fn section(text: &mut String, title: &str, lead: &str, entries: &[Entry], verdict: Verdict) {
    let of_it: Vec<&Entry> = entries.iter().filter(|entry| entry.verdict == verdict).collect();
    if of_it.is_empty() {
        return;
    }
    let _ = writeln!(text, "## {title}\n");
    if !lead.is_empty() {
        let _ = writeln!(text, "{lead}\n");
    }
    text.push_str("| where | object | field | what changes |\n|---|---|---|---|\n");
    let mut rest = of_it.as_slice();
    while let Some(first) = rest.first() {
        // What is said of a whole object stands once.
        let same = rest
            .iter()
            .take_while(|entry| {
                entry.changes == first.changes && entry.object == first.object && entry.file == first.file
            })
            .count();
        let more = if same > 1 { format!(" and {} more", same - 1) } else { String::new() };
        let _ = writeln!(
            text,
            "| {} | {} | `{}`{more} | {} |",
            cell(&place(first)),
            cell(&first.object),
            cell(&first.field.replace('`', "'")),
            cell(&first.changes)
        );
        rest = &rest[same..];
    }
    text.push('\n');
}

/// What stands in no file has no line.
fn place(entry: &Entry) -> String {
    if entry.line == 0 { entry.file.clone() } else { format!("{}:{}", entry.file, entry.line) }
}

/// Text of an input must not break out of its table.
fn cell(text: &str) -> String {
    let char = |char: char| match char {
        '|' => "\\|".to_owned(),
        '<' => "&lt;".to_owned(),
        char if char.is_control() => " ".to_owned(),
        char => char.to_string(),
    };
    text.chars().map(char).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, Entry, Origin, markdown};

    #[test]
    fn what_must_be_done_comes_first() {
        let entry = |field: &str, verdict, changes: &str| Entry {
            file: "kong.yml".into(),
            line: 3,
            object: "plugin a|b".into(),
            field: field.into(),
            verdict,
            changes: changes.into(),
            probes: Vec::new(),
        };
        let origin = Origin { title: "Kong", gateway: "kong", always: &["All is new."] };
        let entries = [
            entry("a", Verdict::Warning, "changes"),
            entry("b", Verdict::Refused, "no <b>"),
            entry("c", Verdict::Refused, "no <b>"),
            entry("d", Verdict::Exact, ""),
        ];
        let text = markdown(&origin, &["kong.yml".into()], &entries);
        assert!(text.contains("1 fields are converted exactly, 1 with a change, 2 are not converted"));
        assert!(text.contains("| kong.yml:3 | plugin a\\|b | `b` and 1 more | no &lt;b> |"), "{text}");
        assert!(text.find("## Not converted") < text.find("## Converted, with a change"));
        assert!(!text.contains("`d`"));
        assert!(text.starts_with("# From Kong to Gatehouse\n") && text.contains("- All is new.\n"));
    }
}
