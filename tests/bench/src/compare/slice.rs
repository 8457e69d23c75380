//! One gateway under load for a few seconds, and whether what was seen counts.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Load, Shape};
use crate::{account::Accounted, machine::Core};

/// The gateway's core, and that of load and backend.
pub const CPU: usize = 0;
pub const LOAD_CPU: usize = 1;

/// Above it, another machine ran on the gateway's core.
const MOST_STEAL: f64 = 0.01;
/// Above it, the load may have been what was slow.
const MOST_BUSY: f64 = 0.85;
/// Less of the requests that were due, and the gateway did not keep up.
const LEAST_DONE: f64 = 0.97;

/// How long each part takes.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub warm: Duration,
    pub measured: Duration,
}

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// Requests a second.
    pub rate: f64,
    /// CPU time of the gateway for each request, microseconds.
    pub cpu: f64,
    /// Latency, microseconds.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

/// Runs open loop at `rate`, or closed loop. The error says why it does not count.
pub async fn slice(
    process: &Accounted,
    shape: &Shape,
    rate: Option<f64>,
    times: Times,
    seed: u64,
) -> Result<Slice, String> {
    let load = Load::start(shape, rate, seed);
    sleep(times.warm).await;
    let warm = load.take();
    let (gateway, generator, cpu, start) =
        (Core::read(CPU), Core::read(LOAD_CPU), process.cpu(), Instant::now());
    sleep(times.measured).await;
    let (tally, cpu, seconds) = (load.take(), process.cpu() - cpu, start.elapsed().as_secs_f64());
    let (_, steal) = Core::read(CPU).since(gateway);
    let (busy, _) = Core::read(LOAD_CPU).since(generator);
    let behind = load.behind();
    drop(load);

    if warm.errors + tally.errors > 0 {
        return Err(format!("{} errors", warm.errors + tally.errors));
    }
    if steal > MOST_STEAL {
        return Err(format!("{:.1} % of the core was stolen", steal * 100.0));
    }
    if let Some(rate) = rate {
        if busy > MOST_BUSY {
            return Err(format!("the core of the load was busy for {:.0} %", busy * 100.0));
        }
        if (tally.completed as f64) < rate * seconds * LEAST_DONE && behind > 0 {
            return Err(format!("{} of {:.0} requests", tally.completed, rate * seconds));
        }
    }
    if tally.completed == 0 {
        return Err("no request came through".into());
    }
    let quantile = |share| tally.latency.value_at_quantile(share) as f64 / 1e3;
    Ok(Slice {
        rate: tally.completed as f64 / seconds,
        cpu: cpu.as_secs_f64() * 1e6 / tally.completed as f64,
        p50: quantile(0.5),
        p99: quantile(0.99),
        p999: quantile(0.999),
    })
}
