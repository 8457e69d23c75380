//! What the machine did meanwhile: a slice during which it was not ours to measure on is void.

use std::{fs, process::Command};

/// Counts of one core since it started, in ticks.
#[derive(Clone, Copy)]
pub struct Core {
    busy: u64,
    steal: u64,
    all: u64,
}

impl Core {
    /// # Panics
    /// If the kernel does not tell.
    pub fn read(cpu: usize) -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu{cpu} "))).unwrap();
        let ticks: Vec<u64> = line.split_whitespace().map(|count| count.parse().unwrap()).collect();
        // user nice system idle iowait irq softirq steal
        let all: u64 = ticks[..8].iter().sum();
        Core { busy: all - ticks[3] - ticks[4] - ticks[7], steal: ticks[7], all }
    }

    /// Shares of the time between the two that were spent working, and that another machine took.
    pub fn since(self, before: Core) -> (f64, f64) {
        let all = (self.all - before.all).max(1) as f64;
        ((self.busy - before.busy) as f64 / all, (self.steal - before.steal) as f64 / all)
    }
}

/// Keeps this process, and the threads that it starts from now on, on one core.
///
/// # Panics
/// If there is no such core.
pub fn pin(cpu: usize) {
    let process = std::process::id().to_string();
    let output = Command::new("taskset").args(["-pc", &cpu.to_string(), &process]).output().unwrap();
    assert!(output.status.success(), "taskset: {}", String::from_utf8_lossy(&output.stderr));
}
