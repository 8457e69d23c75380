//! Processes of ours, and what the kernel knows of them.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use crate::gateway::signal;

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

/// Of a process, in MiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub resident: f64,
    /// Of that, what is not pages of files: its program and libraries, which processes share.
    pub own: f64,
    pub peak: f64,
}

impl Process {
    /// `log`: where its standard error goes.
    ///
    /// # Errors
    /// There is no such binary, or no room for its log.
    pub fn start(
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

    /// SIGTERM, as a pod's end begins.
    pub fn terminate(&self) {
        signal(self.child.id(), "TERM");
    }

    /// `None` while it runs.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// # Errors
    /// It has ended.
    pub fn memory(&self) -> io::Result<Memory> {
        memory(self.child.id())
    }

    /// Time on a processor, of all threads that live.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            nanoseconds += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

/// Of any process.
///
/// # Errors
/// It has ended.
pub fn memory(process: u32) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
        kib / 1024.0
    };
    Ok(Memory { resident: field("VmRSS:"), own: field("RssAnon:"), peak: field("VmHWM:") })
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
