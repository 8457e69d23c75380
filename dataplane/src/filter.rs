//! What a rule changes about requests and responses. Each filter is a small value, compiled from configuration, that
//! the pipeline calls by name.

pub(crate) mod compression;
pub(crate) mod cors;
mod fault;
mod header_changes;
mod redirect;
mod rewrite;
mod substitution;
mod template;

pub(crate) use cors::{Cors, Sharing};
pub(crate) use fault::{Abort, Fault};
pub(crate) use header_changes::{CommonChanges, HeaderChanges, header};
pub(crate) use redirect::{Original, Redirect};
pub(crate) use rewrite::{PathRewrite, Rewrite};
pub(crate) use template::{ConsumerField, Template, Values};

/// Why a filter can't be compiled: a sentence that names the field.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InvalidFilter(pub(crate) String);
