//! The processes that are measured, and what the kernel knows of them.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

/// Of a process, in MiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) resident: f64,
    pub(super) peak: f64,
}

impl Process {
    /// `log`: where its standard error goes.
    pub(super) fn start(
        binary: &Path,
        arguments: &[String],
        environment: &[(&str, &str)],
        log: &Path,
    ) -> io::Result<Self> {
        let child = Command::new(binary)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(log)?)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", binary.display())))?;
        Ok(Process { child })
    }

    pub(super) fn memory(&self) -> io::Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
            let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
            kib / 1024.0
        };
        Ok(Memory { resident: field("VmRSS:"), peak: field("VmHWM:") })
    }

    /// Time on a processor, of all threads that live.
    pub(super) fn cpu(&self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanoseconds += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
