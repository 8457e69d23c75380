//! A request's hold on its endpoint.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{task::spawn_local, time::timeout};

use super::{Endpoint, Pool, RequestBody, endpoint::Active, http1::Outcome, stream::Stream};

/// A backend that answered early may take the rest of the request for so long.
const LINGER: Duration = Duration::from_secs(60);

/// Counts a request towards its endpoint until it ends, and knows where its connection goes back to.
#[derive(Debug)]
pub(crate) struct Lease {
    endpoint: Arc<Endpoint>,
    pool: Rc<Pool>,
    _active: Active,
}

impl Lease {
    pub(crate) fn new(endpoint: Arc<Endpoint>, pool: Rc<Pool>) -> Self {
        let active = endpoint.begin();
        Lease { endpoint, pool, _active: active }
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(super) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// The response was read to its end: what becomes of its connection is decided here and nowhere else.
    pub(super) fn end(self, outcome: Outcome<Stream, RequestBody>) {
        match outcome {
            Outcome::Free(connection) => self.pool.keep(&self.endpoint, connection),
            Outcome::Sending(link) => {
                // The client is still sending: it is read on, so that it gets to see its answer.
                spawn_local(async move {
                    let _ = timeout(LINGER, link.finish_sending()).await;
                    drop(self);
                });
            }
            Outcome::Spent => {}
        }
    }
}
