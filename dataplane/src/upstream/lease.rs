//! A request's hold on its endpoint.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{task::spawn_local, time::timeout};

use super::{Endpoint, Pool, RequestBody, age::Age, endpoint::Active, http1::Outcome, stream::Stream};

/// A backend that answered early may take the rest of the request for so long.
const LINGER: Duration = Duration::from_secs(60);

/// Counts a request towards its endpoint until it ends, and knows where its connection goes back to.
#[derive(Debug)]
pub(crate) struct Lease {
    active: Active,
    pool: Rc<Pool>,
    /// Of the connection, where its time is bounded.
    age: Option<Age>,
}

impl Lease {
    pub(crate) fn new(active: Active, pool: Rc<Pool>) -> Self {
        Lease { active, pool, age: None }
    }

    pub(super) fn of(&mut self, age: Option<Age>) {
        self.age = age;
    }

    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        self.active.endpoint()
    }

    pub(super) fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// The response was read to its end: what becomes of its connection is decided here and nowhere else.
    pub(super) fn end(self, outcome: Outcome<Stream, RequestBody>) {
        match outcome {
            Outcome::Free(connection) => self.pool.keep(self.active.endpoint(), connection, self.age),
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
