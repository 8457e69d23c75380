//! `gatehouse`: runs the gateway without Kubernetes, and checks what it would be given, for people.

mod args;
mod check;
mod cluster;
mod convert;
mod demo;
mod development;
mod explain;
mod manifests;
mod offline;
mod print;
mod run;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Args, Command};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("GATEHOUSE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("another crypto provider is installed already");
        return ExitCode::FAILURE;
    }
    let result = match args.command {
        Command::Run(options) => run::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Demo(options) => demo::demo(&options).map(|()| ExitCode::SUCCESS),
        Command::Check(options) => check::check(&options),
        Command::Explain(options) => explain::explain(&options),
        Command::Convert(command) => convert::convert(&command),
    };
    match result {
        Ok(code) => code,
        // Nothing was started, or everything was ended again: the caller has something to mend.
        Err(error) => {
            let _ = writeln!(io::stderr(), "gatehouse: {error}");
            ExitCode::from(2)
        }
    }
}
