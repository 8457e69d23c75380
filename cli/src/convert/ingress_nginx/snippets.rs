//! Snippets made wholly of directives that have a like here. One that has none refuses its whole snippet: half of what
//! somebody wrote may be the wrong half.

use gatehouse_controller::translate::nginx::{bytes, seconds};
use serde_json::json;

use super::{
    Conversion,
    annotations::Annotations,
    treatment::{Changes, Treatment},
};

/// Those that change nothing here, where bodies are streamed and WebSockets pass.
const NEEDLESS: [&str; 9] = [
    "proxy_buffering",
    "proxy_request_buffering",
    "proxy_buffer_size",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_max_temp_file_size",
    "client_body_buffer_size",
    "proxy_http_version",
    "proxy_pass_request_headers",
];

/// What a snippet asks for.
#[derive(Debug, Default)]
struct Asked {
    request: Changes,
    response: Changes,
    max_body: Option<i64>,
    /// By the names of their directives.
    times: Vec<(String, i64)>,
    /// What is a little different.
    notes: Vec<String>,
}

impl<'a> Conversion<'a, '_> {
    pub(super) fn snippets(&self, annotations: &Annotations<'a, '_>, treatment: &mut Treatment<'a>) {
        for name in ["configuration-snippet", "server-snippet"] {
            let Some(at) = annotations.filled(name) else { continue };
            let asked = directives(&at.value).and_then(|all| read(&all));
            let of_host = name == "server-snippet";
            match asked {
                Ok(asked) => {
                    for note in &asked.notes {
                        self.report.warn(&at.node, note.clone());
                    }
                    if of_host {
                        self.report.warn(
                            &at.node,
                            "is for the paths of this Ingress alone, not for others of its hosts",
                        );
                    }
                    treatment.request_headers.extend(asked.request);
                    treatment.response_headers.extend(asked.response);
                    treatment.max_body = asked.max_body.unwrap_or(treatment.max_body);
                    for (name, time) in asked.times {
                        match &*name {
                            "proxy_connect_timeout" => treatment.times.connect = time,
                            "proxy_read_timeout" => treatment.times.read = time,
                            _ => treatment.times.send = time,
                        }
                    }
                }
                Err(why) if of_host => {
                    self.close(&at.node, name, &why, &mut treatment.missing_on_hosts);
                }
                Err(why) => self.close(&at.node, name, &why, &mut treatment.missing),
            }
        }
    }
}

impl Changes {
    fn extend(&mut self, other: Changes) {
        self.set.extend(other.set);
        self.add.extend(other.add);
        self.remove.extend(other.remove);
    }

    fn add(&mut self, name: &str, value: &str) {
        self.add.insert(name.to_ascii_lowercase(), json!({"name": name, "value": value}));
    }

    /// `NAME: VALUE`; without a value the field goes.
    fn set_line(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let (name, value) = (checked(name.trim())?, value.trim());
        if value.is_empty() {
            self.remove.insert(name.to_owned());
        } else {
            self.set(name, value);
        }
        Ok(())
    }
}

/// The words of each directive. The error continues the annotation's name.
fn directives(text: &str) -> Result<Vec<Vec<String>>, String> {
    let mut all = Vec::new();
    let (mut words, mut word, mut quote, mut has_word) = (Vec::new(), String::new(), None, false);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(end), char) if char == end => quote = None,
            (_, '\\') => word.extend(chars.next()),
            (Some(_), char) => word.push(char),
            (None, '"' | '\'') => (quote, has_word) = (Some(char), true),
            (None, '#') if word.is_empty() => drop(chars.by_ref().find(|char| *char == '\n')),
            (None, '{' | '}') => return Err("holds a block, and none is converted".into()),
            (None, ';') => {
                if has_word || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                has_word = false;
                all.push(std::mem::take(&mut words));
            }
            (None, char) if char.is_whitespace() => {
                if has_word || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                has_word = false;
            }
            (None, char) => word.push(char),
        }
    }
    if quote.is_some() || !word.is_empty() || !words.is_empty() {
        return Err("does not end with a semicolon".into());
    }
    all.retain(|words| !words.is_empty());
    Ok(all)
}

/// The error continues the annotation's name.
fn read(directives: &[Vec<String>]) -> Result<Asked, String> {
    let mut asked = Asked::default();
    for words in directives {
        let (name, values) = words.split_first().ok_or("is empty")?;
        let unlike = || format!("holds `{}`, which has no like here", words.join(" "));
        if NEEDLESS.contains(&&**name) {
            continue;
        }
        let is_socket = name == "proxy_set_header"
            && values
                .first()
                .is_some_and(|name| ["upgrade", "connection"].contains(&&*name.to_ascii_lowercase()));
        if is_socket {
            continue;
        }
        if values.iter().any(|value| value.contains('$') || value.starts_with("-")) {
            return Err(unlike());
        }
        match (&**name, values) {
            ("more_set_headers", lines) => lines.iter().try_for_each(|line| asked.response.set_line(line))?,
            ("more_set_input_headers", lines) => {
                lines.iter().try_for_each(|line| asked.request.set_line(line))?;
            }
            ("more_clear_headers" | "proxy_hide_header", names) => {
                for name in names {
                    asked.response.remove.insert(checked(name)?.to_owned());
                }
            }
            ("more_clear_input_headers", names) => {
                for name in names {
                    asked.request.remove.insert(checked(name)?.to_owned());
                }
            }
            ("proxy_set_header", [name, value]) if !name.eq_ignore_ascii_case("host") => {
                asked.request.set_line(&format!("{name}: {value}"))?;
            }
            ("add_header", [name, value, rest @ ..]) => {
                asked.response.add(checked(name)?, value);
                if rest.first().is_none_or(|word| word != "always") {
                    asked.notes.push(format!(
                        "adds {name} to answers of every status, and nginx to good ones and redirects alone"
                    ));
                }
            }
            ("client_max_body_size", [size]) => {
                asked.max_body = Some(bytes(size).ok_or_else(unlike)?);
            }
            ("proxy_connect_timeout" | "proxy_read_timeout" | "proxy_send_timeout", [time]) => {
                asked.times.push((name.clone(), seconds(time).ok_or_else(unlike)?));
            }
            _ => return Err(unlike()),
        }
    }
    Ok(asked)
}

/// A name that a rule may change. The error continues the annotation's name.
pub(super) fn checked(name: &str) -> Result<&str, String> {
    let is_token =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let is_framing =
        ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"]
            .contains(&&*name.to_ascii_lowercase());
    if is_token && !is_framing {
        Ok(name)
    } else {
        Err(format!("changes the field {name}, which no rule may"))
    }
}

#[cfg(test)]
mod tests {
    use super::{directives, read};

    #[test]
    fn constants_are_taken_and_the_rest_refused_whole() {
        let asked = |text: &str| directives(text).and_then(|all| read(&all));
        let text = "# a comment;\nmore_set_headers \"X-A: b c\" 'X-B:';\nproxy_set_header X-Up 'on';\nadd_header X-C \"d;e\" \
                    always;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \"upgrade\";\n\
                    client_max_body_size 2m; more_clear_headers Server;";
        let found = asked(text).expect("all of them");
        assert_eq!(found.response.value().expect("changes")["set"][0]["value"], "b c");
        assert_eq!(found.response.value().expect("changes")["add"][0]["value"], "d;e");
        assert_eq!(found.response.remove.iter().collect::<Vec<_>>(), ["Server", "X-B"]);
        assert_eq!(found.request.value().expect("changes")["set"][0]["name"], "X-Up");
        assert_eq!((found.max_body, found.notes.len()), (Some(2 << 20), 0));
        for (text, words) in [
            ("if ($x) { return 403; }", "a block"),
            ("deny all;", "`deny all`"),
            ("more_set_headers \"X: $host\";", "`more_set_headers X: $host`"),
            ("more_set_headers -s 404 \"X: y\";", "no like"),
            ("more_clear_headers *;", "the field *"),
            ("proxy_set_header Host a;", "no like"),
            ("more_set_headers \"X: y\"", "semicolon"),
        ] {
            let why = asked(text).map(|_| ()).expect_err(text);
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
