//! What the process uses, by the names that Prometheus' own client libraries give it. Nothing where the kernel does not tell.

use std::fmt;

use procfs::{
    WithCurrentSystemInfo,
    process::{LimitValue, Process},
};

use super::text::single;

pub(super) fn write(out: &mut String) -> fmt::Result {
    let Ok(process) = Process::myself() else { return Ok(()) };
    if let Ok(open) = process.fd_count() {
        single(out, "process_open_fds", "gauge", "File descriptors that are open.", open)?;
    }
    if let Ok(LimitValue::Value(most)) = process.limits().map(|limits| limits.max_open_files.soft_limit) {
        single(out, "process_max_fds", "gauge", "File descriptors that may be open.", most)?;
    }
    let Ok(stat) = process.stat() else { return Ok(()) };
    let bytes = stat.rss_bytes().get();
    single(out, "process_resident_memory_bytes", "gauge", "Memory that is in use.", bytes)?;
    let ticks = procfs::ticks_per_second() as f64;
    let seconds = (stat.utime + stat.stime) as f64 / ticks;
    single(out, "process_cpu_seconds_total", "counter", "Time of all threads on a CPU.", seconds)?;
    single(out, "process_threads", "gauge", "Threads.", stat.num_threads)?;
    if let Ok(boot) = procfs::boot_time_secs() {
        let started = boot as f64 + stat.starttime as f64 / ticks;
        single(out, "process_start_time_seconds", "gauge", "When it began, in Unix time.", started)?;
    }
    Ok(())
}
