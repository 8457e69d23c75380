//! `make bench`: one worker of each gateway on one core, in turns, under the same load.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use gatehouse_bench::{
    compare::{
        cell::{CELLS, IDLE},
        report::Report,
        run::{Bench, Effort},
        slice::{LOAD_CPU, Times},
    },
    machine,
};
use tokio::task::LocalSet;

/// Compares gateways, and writes a table and a list of ratios.
#[derive(Debug, Parser)]
struct Args {
    /// Fewer rounds, of shorter slices: under 5 minutes, for the daily loop.
    #[arg(long)]
    quick: bool,
    /// Rounds of each cell.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only these cells.
    #[arg(long, value_delimiter = ',')]
    cells: Vec<String>,
    /// Only against these; `none` for ours alone.
    #[arg(long, value_delimiter = ',')]
    against: Vec<String>,
    /// Where report.json and table.md go.
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    machine::pin(LOAD_CPU);
    gatehouse_tests::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let report = LocalSet::new().block_on(&runtime, run(&args));
    let json = serde_json::to_string_pretty(&report.rows).expect("rows of numbers and strings");
    let table = report.table();
    if let Err(error) = fs::create_dir_all(&args.output)
        .and_then(|()| fs::write(args.output.join("report.json"), json))
        .and_then(|()| fs::write(args.output.join("table.md"), &table))
    {
        eprintln!("{}: {error}", args.output.display());
        return ExitCode::FAILURE;
    }
    println!("\n{table}\n{} void slices", report.voids);
    ExitCode::SUCCESS
}

async fn run(args: &Args) -> Report {
    let mut report = Report::default();
    let (rounds, warm, measured) = if args.quick { (3, 200, 800) } else { (12, 500, 3_000) };
    let times = Times { warm: Duration::from_millis(warm), measured: Duration::from_millis(measured) };
    let effort = Effort { rounds: args.rounds.unwrap_or(rounds), times };
    let mut bench = Bench::new(effort, args.against.clone()).await;
    let wanted = |name: &str| args.cells.is_empty() || args.cells.iter().any(|cell| cell == name);
    for cell in CELLS.iter().filter(|cell| wanted(cell.name)) {
        bench.compare(cell, &mut report).await;
    }
    if wanted(IDLE.name) {
        bench.idle(&mut report).await;
    }
    report
}
