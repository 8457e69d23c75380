//! A step of the view, and what it means for those who read it.

use std::fmt;

use super::Source;
use crate::{
    resources::{ObjectKey, Resources},
    translate::ObjectId,
};

/// What a change touches, so that no more is done for it than is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// Only what was written by controllers into this object: statuses and versions. Configuration does not depend on it.
    Observed(ObjectId),
    /// A route that stands for itself: any kind but Ingress.
    Route(ObjectId),
    /// What routes see of this Service.
    Service(ObjectKey),
    /// Addresses behind this Service.
    Endpoints(ObjectKey),
    /// A Secret or ConfigMap that somebody wanted is in the view now, or is known not to exist.
    Content(ObjectId),
    /// Anything may follow.
    Configuration,
}

/// One step of the view.
pub struct Change {
    step: Box<dyn FnOnce(&mut Resources) -> Effect + Send>,
    listed: Option<Source>,
}

impl Change {
    pub(super) fn new(step: impl FnOnce(&mut Resources) -> Effect + Send + 'static) -> Self {
        Change { step: Box::new(step), listed: None }
    }

    /// After this step everything of the source is in the view.
    pub(super) fn completes(mut self, source: &Source) -> Self {
        self.listed = Some(source.clone());
        self
    }

    pub(super) fn listed(&self) -> Option<&Source> {
        self.listed.as_ref()
    }

    pub fn apply(self, view: &mut Resources) -> Effect {
        (self.step)(view)
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("listed", &self.listed).finish_non_exhaustive()
    }
}
