//! `gatehouse-controller`: watches the cluster, serves configuration to dataplanes, writes statuses and provisions.

mod args;
mod probe;
mod start;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Args, Command};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("GATEHOUSE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("another crypto provider is installed already");
        return ExitCode::FAILURE;
    }
    let result = match (args.command, args.options) {
        (Some(Command::Probe { url }), _) => probe::probe(&url).map_err(|error| error.to_string()),
        (None, Some(options)) => start::run(options).map_err(|error| error.to_string()),
        (None, None) => Err("give the options; --help names them".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gatehouse-controller: {error}");
            ExitCode::FAILURE
        }
    }
}
