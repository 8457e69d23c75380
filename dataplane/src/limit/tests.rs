//! The limiter as a whole, over both stores.

mod algorithms;
mod failures;
mod harness;
mod leases;
mod policy;
mod shared;
