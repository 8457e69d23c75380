//! What the micro-benchmarks run: the pieces of the product whose cost is held down, each as a plain function over
//! prepared data.
//!
//! Only with the feature `bench`, which nothing but the programs in `benches/` asks for. Everything is the same from run
//! to run: names, tokens and, with this feature, the seeds of hashes.

mod memory;
mod requests;
mod routes;
mod tokens;
mod wire;

pub use memory::{Held, Whole};

/// One thing to measure.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// Takes its time: it builds tables of up to 100,000 routes.
    pub prepare: fn() -> Work,
}

/// Does what is measured once a call.
pub type Work = Box<dyn FnMut()>;

/// Every case, the quick ones first.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    requests::CASES.iter().chain(tokens::CASES).chain(routes::CASES)
}
