//! `make bench-scale`: event to serving, bytes, memory, CPU and cold start with up to 100,000 routes.

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use gatehouse_bench::scale::{self, Plan, Report, Services};

/// Measures what tables of routes cost. The binaries must have been built with the release profile.
#[derive(Debug, Parser)]
struct Args {
    /// Numbers of routes.
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000,40000,100000")]
    routes: Vec<usize>,
    /// Single edits of a cell, and as many creations.
    #[arg(long, default_value_t = 300)]
    changes: usize,
    /// Seconds of one change a second.
    #[arg(long, default_value_t = 20)]
    churn: u64,
    /// Without the cell of 5,000 routes that have a Service each.
    #[arg(long)]
    shared_services_only: bool,
    /// Where the figures go, beside the logs of the last cell's processes.
    #[arg(long, default_value = "target/bench/scale.json")]
    output: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Beside this program, as cargo builds all of them.
    let binaries = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
    let logs = args.output.with_file_name("logs");
    std::fs::create_dir_all(&logs)?;
    let mut report = Report::default();
    let shared = args.routes.iter().map(|routes| (*routes, Services::Shared));
    let own = Some((5000, Services::Own)).filter(|_| !args.shared_services_only);
    for (routes, services) in shared.chain(own) {
        let plan = Plan {
            routes,
            services,
            changes: args.changes,
            churn: Duration::from_secs(args.churn),
            binaries: binaries.clone(),
            logs: logs.clone(),
        };
        eprintln!("{routes} routes");
        runtime.block_on(scale::run(&plan, &mut report))?;
    }
    growth(args, &mut report);
    report.write(&args.output)?;
    println!("{}", report.table());
    Ok(())
}

/// From the smallest table to the largest.
fn growth(args: &Args, report: &mut Report) {
    let (Some(few), Some(many)) = (args.routes.iter().min(), args.routes.iter().max()) else { return };
    let time = |routes: &usize| report.value(&format!("{routes} routes"), "edit to 200 on all, p99");
    if let (Some(one), Some(other)) = (time(few), time(many)) {
        let target = Some(2.0).filter(|_| (*few, *many) == (1000, 100_000));
        report.tell(&format!("{few} to {many} routes"), "growth of an edit's p99", other / one, "x", target);
    }
}
