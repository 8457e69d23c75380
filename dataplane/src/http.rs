//! HTTP: from bytes to a request, through the pipeline, and back.

pub(crate) mod guard;
pub(crate) mod headers;
pub(crate) mod target;
