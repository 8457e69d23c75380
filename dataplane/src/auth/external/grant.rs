//! What an answer that admits gives the backend.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{cache::KeyWriter, http::headers::remove_with_aliases};

/// What the credential of an identity begins with.
const CREDENTIAL: &str = "external";
/// Longer names of clients are none: they go into logs and keys of limits.
const IDENTITY_BYTES: usize = 256;

pub(crate) struct Granted {
    pub(in crate::auth) credential: Arc<str>,
    pub(super) edits: Vec<Edit>,
    pub(super) removed: Vec<HeaderName>,
}

/// Of one field of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    pub(super) how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Append,
    AppendIfAbsent,
    Set,
    SetIfPresent,
}

impl Granted {
    /// `name`: who asks, as the answer has it.
    pub(super) fn new(name: Option<&HeaderValue>, edits: Vec<Edit>, removed: Vec<HeaderName>) -> Self {
        let name = name.and_then(|name| name.to_str().ok());
        let credential = match name.filter(|name| !name.is_empty() && name.len() <= IDENTITY_BYTES) {
            Some(name) => format!("{CREDENTIAL}:{name}").into(),
            None => CREDENTIAL.into(),
        };
        Granted { credential, edits, removed }
    }

    pub(in crate::auth) fn is_nameless(&self) -> bool {
        *self.credential == *CREDENTIAL
    }

    /// All that it gives the backend.
    pub(in crate::auth) fn tell(&self, who: &mut KeyWriter) {
        for Edit { name, value, how } in &self.edits {
            who.piece(name.as_str().as_bytes());
            who.piece(value.as_bytes());
            who.piece(&[*how as u8]);
        }
        for name in &self.removed {
            who.piece(name.as_str().as_bytes());
        }
        who.absent();
    }

    /// What is set takes the place of every spelling of it that the client has sent.
    pub(in crate::auth) fn apply(&self, headers: &mut HeaderMap) {
        for Edit { name, value, how } in &self.edits {
            let is_there = headers.contains_key(name);
            match (how, is_there) {
                (How::Append, _) | (How::AppendIfAbsent, false) => {
                    headers.append(name, value.clone());
                }
                (How::Set, _) | (How::SetIfPresent, true) => {
                    remove_with_aliases(headers, name);
                    headers.insert(name, value.clone());
                }
                (How::AppendIfAbsent, true) | (How::SetIfPresent, false) => {}
            }
        }
        for name in &self.removed {
            remove_with_aliases(headers, name);
        }
    }
}

/// What it says may be about people.
impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("edits", &self.edits.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Edit, Granted, How};

    #[test]
    fn fields_are_set_added_and_taken_away() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("a", "1"), ("b", "1"), ("x-user", "root"), ("x_user", "root"), ("gone", "1"), ("c", "1")]
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let edit = |name: &'static str, how| Edit {
            name: HeaderName::from_static(name),
            value: HeaderValue::from_static("2"),
            how,
        };
        let edits = vec![
            edit("a", How::Append),
            edit("b", How::AppendIfAbsent),
            edit("new", How::AppendIfAbsent),
            edit("x-user", How::Set),
            edit("c", How::SetIfPresent),
            edit("absent", How::SetIfPresent),
        ];
        Granted::new(None, edits, vec![HeaderName::from_static("gone")]).apply(&mut headers);
        let of = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        for (name, wanted) in [
            ("a", &["1", "2"][..]),
            ("b", &["1"]),
            ("new", &["2"]),
            ("x-user", &["2"]),
            ("x_user", &[]),
            ("c", &["2"]),
            ("absent", &[]),
            ("gone", &[]),
        ] {
            assert_eq!(of(name), wanted, "{name}");
        }
    }

    #[test]
    fn who_asks_is_told_by_a_short_name() {
        let of = |name: &str| {
            let name = HeaderValue::from_str(name).unwrap();
            Granted::new(Some(&name), Vec::new(), Vec::new()).credential.to_string()
        };
        assert_eq!(of("alice"), "external:alice");
        assert_eq!(of(""), "external");
        assert_eq!(of(&"a".repeat(257)), "external");
        assert_eq!(&*Granted::new(None, Vec::new(), Vec::new()).credential, "external");
    }
}
