//! Gatehouse as its users run it: a Helm release on a real Kubernetes, traffic through LoadBalancer addresses, everything
//! read back with kubectl. `tests/cluster/test` builds the images, starts the cluster and runs this inside its network.
//!
//! Tests run one at a time, for several of them take parts of the installation away.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, too

mod away;
mod broken;
mod changes;
mod ingress;
mod install;
mod kubectl;
mod limits;
mod orders;
mod rights;
mod scale;
mod shop;
mod traffic;
