//! No request is lost to a change: a steady load through two dataplanes while everything around it changes.
//!
//! ```text
//! clients -> balancer -> gatehouse-dataplane (two) -> pods of two Services
//!                              ^
//! changes -> pretended API server -> gatehouse-controller
//! ```
//!
//! Each request tells by its number what both ends are to do with it, so a wrong answer, a lost one and a second one all
//! show. Clients send nothing twice.

// The whole crate is test code: what fails in it should fail loudly.
#![allow(clippy::unwrap_used, clippy::panic, missing_debug_implementations)]

mod backend;
mod balancer;
mod dataplanes;
mod ledger;
mod load;
mod plan;
mod report;
mod request;
mod routes;
mod services;
mod world;

use std::{io, path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use clap::Parser;

use crate::{ledger::Ledger, plan::Plan, report::Report, world::World};

/// Where the report and the processes' logs go, from the folder of this crate.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/soak");

/// The controller and the dataplane are taken from where this program is.
#[derive(Parser)]
#[command(about = "Changes everything under load and writes target/soak/report.json")]
struct Arguments {
    /// A tenth of it.
    #[arg(long)]
    quick: bool,
}

fn main() -> ExitCode {
    let plan = if Arguments::parse().quick { Plan::QUICK } else { Plan::WHOLE };
    match run(plan) {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            failures.iter().for_each(|failure| eprintln!("{failure}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Gives what was promised and not shown.
fn run(plan: Plan) -> io::Result<Vec<String>> {
    let folder = PathBuf::from(FOLDER);
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs)?;
    let binaries = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ledger = Arc::new(Ledger::new(plan));
    let seconds = runtime.block_on(async {
        let world = World::start(Arc::clone(&ledger), &binaries, &logs).await?;
        let began = Instant::now();
        world.run(&plan).await?;
        io::Result::Ok(began.elapsed().as_secs_f64())
    })?;
    let totals = ledger.totals();
    let report = Report::new(&plan, &totals, seconds);
    report.write(&folder.join("report.json"))?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    totals.failures.iter().for_each(|failure| eprintln!("{failure}"));
    Ok(report.failures())
}
