//! One request and its response, as they are observed.
//!
//! It is begun with the request's head and ended when it is dropped, which is when the response's body has gone out or
//! the client has gone away. What the steps of the pipeline learn is noted here.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, request::Parts};
use tokio::time::Instant;

use super::{connection::Connection, headers::X_REQUEST_ID};
use crate::{
    Reason,
    observe::{Record, RequestId, TraceContext, metrics::RouteMetrics},
    upstream::BodyState,
    worker::Worker,
};

#[derive(Debug)]
pub(crate) struct Exchange {
    worker: Rc<Worker>,
    /// `None` only after the end.
    record: Option<Record>,
    body: Rc<BodyState>,
    complete: bool,
}
