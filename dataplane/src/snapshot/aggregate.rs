//! An aggregate of a rule, compiled.

use std::{sync::Arc, time::Duration};

use super::Retry;
use crate::{
    filter::{HeaderChanges, Template},
    observe::metrics::PartMetrics,
};

#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    /// In the order of the answer's members.
    pub(crate) parts: Box<[Part]>,
    /// From the request's head to the last byte of the last part.
    pub(crate) timeout: Duration,
    /// Of the body of one part.
    pub(crate) max_part_bytes: usize,
    /// `"errors":`
    pub(crate) errors_member: Option<Box<str>>,
    pub(crate) retry: Option<Retry>,
}

#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Letters, digits, `-`, `.` and `_`: it needs no escape anywhere.
    pub(crate) name: Arc<str>,
    /// `"user":`
    pub(crate) member: Box<str>,
    pub(crate) target: Template,
    /// `None`: the whole's alone.
    pub(crate) timeout: Option<Duration>,
    pub(crate) on_failure: OnFailure,
    pub(crate) request_headers: HeaderChanges,
    pub(crate) metrics: Arc<PartMetrics>,
}

/// What becomes of the answer when a part has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// There is none.
    Fail,
    Null,
    Omit,
}
