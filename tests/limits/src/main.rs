//! Proves what limits in Redis promise: runs dataplanes' limiters as processes of their own against a real Redis, ends,
//! stops and delays them, and replays every request that they admitted.
//!
//! ```text
//! case -> parent: Redis, delay, processes, fault -> logs -> replay -> target/limits/report.json
//!                              |
//!                         dataplane: arrivals -> limiter -> one record a decision
//! ```

// The whole crate is test code: what fails in it should fail loudly.
#![allow(clippy::unwrap_used, clippy::panic, missing_debug_implementations)]

mod arrivals;
mod case;
mod clock;
mod dataplane;
mod delay;
mod log;
mod parent;
mod replay;
mod report;
mod spec;

use std::{path::Path, process::ExitCode};

use clap::Parser;

/// Where the report goes, from the folder of this crate.
const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/limits/report.json");

#[derive(Parser)]
#[command(about = "Runs the proofs of the rate limits and writes target/limits/report.json")]
struct Arguments {
    /// Fewer cases, and short: under a minute. What a busy machine can spoil is printed and not judged.
    #[arg(long)]
    quick: bool,
    /// Only cases whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// How a process is told what to be.
    #[arg(long, hide = true)]
    dataplane: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(spec) = &arguments.dataplane {
        dataplane::run(&serde_json::from_str(spec).expect("the parent writes specs"));
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cases = case::all(arguments.quick).into_iter().filter(|case| case.title().contains(&arguments.only));
    let mut entries = Vec::new();
    let mut failures = Vec::new();
    println!("{}", report::HEAD);
    for case in cases {
        let entry = runtime.block_on(parent::run(&case));
        println!("{}", entry.row());
        failures.extend(entry.failures(&case, !arguments.quick));
        entries.push(entry);
    }
    report::write(Path::new(REPORT), &entries);
    for failure in &failures {
        eprintln!("{failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
