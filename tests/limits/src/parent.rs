//! Runs a case: Redis, the processes, and what goes wrong.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use gatehouse_tests::{gateway::signal, redis::Redis};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{
    case::{Case, Fault},
    clock::now_us,
    delay::Delay,
    log::{self, Outcome},
    replay,
    report::{Entry, Spent},
    spec::{Load, Spec},
};

/// For all processes to be there.
const HEAD_START: Duration = Duration::from_millis(400);
/// Twice that of the longest lease.
const STANDSTILL: Duration = Duration::from_secs(1);

pub(crate) async fn run(case: &Case) -> Entry {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = Redis::start().await;
    let delay = match case.fault {
        Fault::Delay(delay) => Some(Delay::before(redis.address(), delay).await),
        _ => None,
    };
    let start = now_us() + micros(HEAD_START);
    let mut specs: Vec<Spec> = (0..case.processes)
        .map(|n| Spec {
            redis: delay.as_ref().map_or_else(|| redis.url(), |delay| format!("redis://{}", delay.address)),
            limit: case.limit,
            load: Load { rate: case.load.rate * share(case, n), ..case.load },
            workers: if case.processes > 4 { 1 } else { 2 },
            start,
            end: start + micros(case.time),
            seed: u64::from(n),
            log: folder.path().join(n.to_string()),
            measure: case.measure,
        })
        .collect();
    let mut children: Vec<Child> = specs.iter().map(spawn).collect();
    let mut runs = 0;
    match case.fault {
        Fault::None | Fault::Delay(_) => {}
        Fault::Kill => {
            sleep(HEAD_START + case.time / 3).await;
            children[0].kill().await.unwrap();
            // The one in its place is another holder to Redis.
            specs[0].seed += 1000;
            children[0] = spawn(&specs[0]);
        }
        Fault::Stop => {
            sleep(HEAD_START + case.time / 3).await;
            let process = children[0].id().unwrap();
            signal(process, "STOP");
            sleep(STANDSTILL).await;
            signal(process, "CONT");
        }
        Fault::Redis => {
            sleep(HEAD_START + case.time / 3).await;
            runs = redis.script_runs().await.unwrap();
            redis.restart().await;
        }
    }
    let mut added = Vec::new();
    for child in children {
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{}: a process ended with {}", case.title(), output.status);
        if let Ok(spent) = serde_json::from_slice::<Spent>(&output.stdout) {
            added.push((f64::from(spent.limited_ns) - f64::from(spent.free_ns)) / 1000.0);
        }
    }
    runs += redis.script_runs().await.unwrap();
    added.sort_by(f64::total_cmp);
    // What was not built to be quick says nothing about time.
    let added_p50_us = if cfg!(debug_assertions) { None } else { added.get(added.len() / 2).copied() };
    entry(case, &specs, runs, added_p50_us)
}

/// Of the requests, those that come to the nth process.
fn share(case: &Case, n: u32) -> f64 {
    if !case.skewed {
        return 1.0 / f64::from(case.processes);
    }
    let weight = |n: u32| 0.5_f64.powi(n.cast_signed());
    weight(n) / (0..case.processes).map(weight).sum::<f64>()
}

fn spawn(spec: &Spec) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("--dataplane")
        .arg(serde_json::to_string(spec).unwrap())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn entry(case: &Case, specs: &[Spec], runs: u64, added_p50_us: Option<f64>) -> Entry {
    let (mut came, mut admitted) = (BTreeMap::<u32, Vec<u64>>::new(), BTreeMap::<u32, Vec<u64>>::new());
    let (mut unavailable, mut unfounded) = (0, 0);
    for record in specs.iter().flat_map(|spec| log::read(&spec.log).unwrap()) {
        came.entry(record.key).or_default().push(record.at);
        match record.outcome {
            Outcome::Admitted => admitted.entry(record.key).or_default().push(record.at),
            Outcome::Refused => {}
            Outcome::Unavailable => unavailable += 1,
            Outcome::Unfounded => unfounded += 1,
        }
    }
    for times in came.values_mut().chain(admitted.values_mut()) {
        times.sort_unstable();
    }
    let ideal: u64 = came.values().map(|came| replay::ideal(&case.limit, came)).sum();
    let count: u64 = admitted.values().map(|times| times.len() as u64).sum();
    Entry {
        case: case.name,
        algorithm: case.limit.algorithm,
        processes: case.processes,
        admitted: count,
        max_over_limit: admitted.values().map(|at| replay::over(&case.limit, at)).fold(0.0, f64::max),
        utilisation: count as f64 / ideal.max(1) as f64,
        redis_commands_per_admit: runs as f64 / count.max(1) as f64,
        added_p50_us,
        unavailable,
        unfounded,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}
