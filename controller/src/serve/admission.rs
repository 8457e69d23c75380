//! What the caller of a stream may ask for, as whoever authenticated it found out.

use std::{fmt, sync::Arc};

use gatehouse_proto::config::v1::Hello;
use tonic::Status;

type Rule = dyn Fn(&Hello) -> Result<(), Status> + Send + Sync;

/// Stands in the extensions of a request.
#[derive(Clone)]
pub struct Admission(Arc<Rule>);

impl Admission {
    pub fn new(rule: impl Fn(&Hello) -> Result<(), Status> + Send + Sync + 'static) -> Self {
        Admission(Arc::new(rule))
    }

    pub(super) fn check(&self, hello: &Hello) -> Result<(), Status> {
        (self.0)(hello)
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}
