//! Whole configurations: what is written, what is said, and that the controller takes it.

use super::convert;
use crate::convert::{
    Options,
    testing::{Outcome, outcome, sources},
    tree::Source,
};

mod differential;
mod objects;
mod orders;
mod plugins;
mod routes;

fn source(text: &str) -> Source {
    sources("kong.yml", text).remove(0)
}

/// What a user says who says nothing.
fn options(without: &[&str]) -> Options {
    Options {
        namespace: "default".into(),
        gateway: "kong".into(),
        without: without.iter().map(|&name| name.to_owned()).collect(),
        exact_paths: false,
    }
}

/// Converts, and holds what is written to the schemas.
fn converted_with(text: &str, without: &[&str]) -> Outcome {
    outcome("kong.yml", text, convert, &options(without)).expect("a kong.yml")
}

fn converted(text: &str) -> Outcome {
    converted_with(text, &[])
}

/// What the controller and a dataplane would say of it, each as `REASON: MESSAGE`.
fn told(converted: &Outcome) -> Vec<String> {
    converted.told()
}
