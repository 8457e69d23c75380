//! HTTP: from bytes to a request, through the pipeline, and back.

pub(crate) mod guard;
