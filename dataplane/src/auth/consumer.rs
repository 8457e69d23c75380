//! A client that is known, its credentials, and what backends are told of it.
//!
//! There may be very many, so each is small: what is told is one text, and the index refers to credentials by number.

mod credential;

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::filter::ConsumerField;

pub(super) use credential::{Credential, CredentialKind, Hash, sha256};

/// The fields that tell of it, in the order of its text.
static FIELDS: [HeaderName; COUNT] = [
    HeaderName::from_static("x-consumer-id"),
    HeaderName::from_static("x-consumer-username"),
    HeaderName::from_static("x-consumer-custom-id"),
    HeaderName::from_static("x-consumer-tier"),
    HeaderName::from_static("x-consumer-groups"),
];
const COUNT: usize = 5;
const USERNAME: usize = 1;
const CUSTOM_ID: usize = 2;
const TIER: usize = 3;

#[derive(Debug)]
pub(crate) struct Consumer {
    /// `namespace/name`.
    pub(super) id: Arc<str>,
    /// The values of `FIELDS`, one behind the other, and where each ends. An empty one is none.
    told: Bytes,
    ends: [u32; COUNT],
    pub(super) groups: Box<[Box<str>]>,
    pub(super) credentials: Box<[Credential]>,
}

impl Consumer {
    /// Gives also a sentence for each credential that can't be used. The error is a sentence: nothing of it can be.
    pub(super) fn compile(id: &str, wire: &v1::Consumer) -> Result<(Self, Vec<String>), String> {
        if let Some(group) = wire.groups.iter().find(|group| group.contains(',') || group.is_empty()) {
            return Err(format!("groups: {group:?} is empty or holds a comma, which separates groups"));
        }
        let groups = wire.groups.join(",");
        let told = [
            ("metadata", id),
            ("username", &wire.username),
            ("customId", &wire.custom_id),
            ("tier", &wire.tier),
            ("groups", &groups),
        ];
        let mut text = String::with_capacity(told.iter().map(|(_, value)| value.len()).sum());
        let mut ends = [0; COUNT];
        for (end, (field, value)) in ends.iter_mut().zip(told) {
            if HeaderValue::from_bytes(value.as_bytes()).is_err() {
                return Err(format!("{field}: {value:?} holds a control character"));
            }
            text.push_str(value);
            *end = u32::try_from(text.len()).map_err(|_| format!("{field}: it is too long"))?;
        }
        let mut problems = Vec::new();
        let credentials = wire.credentials.iter().filter_map(|credential| {
            Credential::compile(id, credential)
                .map_err(|problem| problems.push(format!("credential {}: {problem}", credential.name)))
                .ok()
        });
        let consumer = Consumer {
            credentials: credentials.collect(),
            id: id.into(),
            told: text.into(),
            ends,
            groups: wire.groups.iter().map(|group| group.as_str().into()).collect(),
        };
        Ok((consumer, problems))
    }

    /// Empty: none.
    pub(super) fn tier(&self) -> &str {
        // It was a text, and is cut where one of its parts ends.
        std::str::from_utf8(&self.told[self.range(TIER)]).unwrap_or_default()
    }

    /// `None`: it has none.
    pub(super) fn field(&self, field: ConsumerField) -> Option<&[u8]> {
        let field = match field {
            ConsumerField::Username => USERNAME,
            ConsumerField::CustomId => CUSTOM_ID,
            ConsumerField::Tier => TIER,
        };
        Some(&self.told[self.range(field)]).filter(|value| !value.is_empty())
    }

    /// Tells the backend what is not empty.
    pub(super) fn describe(&self, headers: &mut HeaderMap) {
        for (n, name) in FIELDS.iter().enumerate() {
            let range = self.range(n);
            // Each was found fit for a field.
            if !range.is_empty()
                && let Ok(value) = HeaderValue::from_maybe_shared(self.told.slice(range))
            {
                headers.insert(name.clone(), value);
            }
        }
    }

    fn range(&self, field: usize) -> Range<usize> {
        let begin = field.checked_sub(1).map_or(0, |before| self.ends[before]);
        begin as usize..self.ends[field] as usize
    }
}
