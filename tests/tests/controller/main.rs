//! The real `gatehouse-controller` beside a real API server.

mod rig;
mod startup;
