//! The limiter as a whole, over both stores.

mod algorithms;
mod cluster;
mod due;
mod failures;
mod fast;
mod fields;
mod harness;
mod leases;
mod policy;
mod servers;
mod shared;
