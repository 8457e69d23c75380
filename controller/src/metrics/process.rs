//! What the process uses, by the names that Prometheus' own client libraries give it. Nothing where the kernel does not tell.

use std::fmt;

use procfs::{
    WithCurrentSystemInfo,
    process::{LimitValue, Process},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

#[derive(Debug)]
pub(super) struct Usage;

impl Collector for Usage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut tell = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let mut gauge = |name: &str, help: &str, value: f64| tell(name, help, &ConstGauge::new(value));
        let Ok(process) = Process::myself() else { return Ok(()) };
        if let Ok(open) = process.fd_count() {
            gauge("process_open_fds", "File descriptors that are open", open as f64)?;
        }
        if let Ok(LimitValue::Value(most)) = process.limits().map(|limits| limits.max_open_files.soft_limit) {
            gauge("process_max_fds", "File descriptors that may be open", most as f64)?;
        }
        let Ok(stat) = process.stat() else { return Ok(()) };
        let ticks = procfs::ticks_per_second() as f64;
        gauge("process_resident_memory_bytes", "Memory that is in use", stat.rss_bytes().get() as f64)?;
        gauge("process_threads", "Threads", stat.num_threads as f64)?;
        if let Ok(boot) = procfs::boot_time_secs() {
            let started = boot as f64 + stat.starttime as f64 / ticks;
            gauge("process_start_time_seconds", "When it began, in Unix time", started)?;
        }
        let seconds = (stat.utime + stat.stime) as f64 / ticks;
        tell("process_cpu_seconds", "Time of all threads on a CPU", &ConstCounter::new(seconds))
    }
}
