//! A whole table of routes: how long it takes to come into force, and what memory it takes then.

use std::{any::Any, fmt};

use gatehouse_proto::config::v1::Resource;

use super::{
    routes::in_force,
    wire::{self, Shape},
};

/// What a controller sends at the start, decoded.
#[derive(Debug)]
pub struct Whole(Vec<Resource>);

/// A table in force: what the control thread holds and what the workers see.
pub struct Held(#[allow(dead_code)] Box<dyn Any>); // Only there to be dropped.

impl Whole {
    /// So many routes, each under a host of its own or all under one.
    pub fn new(routes: usize, one_host: bool) -> Self {
        Whole(wire::whole(if one_host { Shape::Paths } else { Shape::Hosts }, routes))
    }

    /// Compiles and assembles it in one go.
    pub fn into_force(self) -> Held {
        Held(Box::new(in_force(self.0)))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}
