//! A folder of Kubernetes manifests, read as the API server would take them.
//!
//! Files become documents (`read`), documents are completed and checked by the CRDs' schemas (`schema`) and CEL rules
//! (`rules`) as `kubectl apply` would have it (`admit`), and what changes on disk is seen at once (`watch`). Nothing
//! here knows what a Gateway means: that is the controller's translation, the same as in a cluster.

pub(crate) mod admit;
pub(crate) mod folder;
pub(crate) mod identity;
pub(crate) mod kinds;
pub(crate) mod problem;
pub(crate) mod read;
pub(crate) mod rules;
pub(crate) mod schema;
pub(crate) mod watch;

pub(crate) use folder::Folder;
pub(crate) use identity::Identity;
pub(crate) use problem::{Problem, Severity};
