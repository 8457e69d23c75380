//! Header modification (HTTPHeaderFilter).

use std::sync::Arc;

use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::InvalidFilter;
use crate::interned::Interned;

/// Names that frame a message or name its recipient: changing them by hand breaks it.
const NOT_OURS_TO_CHANGE: [&str; 4] = ["connection", "content-length", "transfer-encoding", "upgrade"];

/// Most rules change nothing, and many what others change: it takes one word.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeaderChanges(Option<Arc<Changes>>);

/// What the rules of a table have in common.
pub(crate) type CommonChanges = Interned<Changes>;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Changes {
    set: Box<[(HeaderName, HeaderValue)]>,
    add: Box<[(HeaderName, HeaderValue)]>,
    remove: Box<[HeaderName]>,
}

impl HeaderChanges {
    pub(crate) fn compile(
        wire: Option<&v1::HeaderChanges>,
        common: &mut CommonChanges,
    ) -> Result<Self, InvalidFilter> {
        let Some(wire) = wire.filter(|wire| **wire != v1::HeaderChanges::default()) else {
            return Ok(HeaderChanges::default());
        };
        let changes = Changes {
            set: wire.set.iter().map(header).collect::<Result<_, _>>()?,
            add: wire.add.iter().map(header).collect::<Result<_, _>>()?,
            remove: wire.remove.iter().map(|header| name(header)).collect::<Result<_, _>>()?,
        };
        Ok(HeaderChanges(Some(common.get(Arc::new(changes)))))
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        let Some(changes) = &self.0 else { return };
        for (name, value) in &changes.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &changes.add {
            headers.append(name.clone(), value.clone());
        }
        for name in &changes.remove {
            headers.remove(name);
        }
    }
}

pub(super) fn name(text: &str) -> Result<HeaderName, InvalidFilter> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| InvalidFilter(format!("{text:?} is no header name: use letters, digits and `-`")))?;
    if NOT_OURS_TO_CHANGE.contains(&name.as_str()) {
        return Err(InvalidFilter(format!("header {name} frames the message and can't be changed")));
    }
    Ok(name)
}

pub(crate) fn header(header: &v1::Header) -> Result<(HeaderName, HeaderValue), InvalidFilter> {
    let name = name(&header.name)?;
    let value = HeaderValue::from_str(&header.value)
        .map_err(|_| InvalidFilter(format!("the value of header {name} holds a control character")))?;
    Ok((name, value))
}
