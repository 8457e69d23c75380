//! Processes whose CPU time is accounted for exactly: each in a control group of its own, pinned to one core.
//!
//! `cpuacct.usage` counts nanoseconds of every thread, ended ones included; `/proc/PID/stat` counts ticks of 10 ms.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The hierarchies that account for CPU time: version 1, and version 2.
const ROOTS: [(&str, &str); 2] =
    [("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat")];
/// How long a process gets to end by itself.
const LAST_CHANCE: Duration = Duration::from_secs(2);

/// A process and all that it started. Ends with this.
pub struct Accounted {
    child: Child,
    group: PathBuf,
    usage: PathBuf,
}

impl Accounted {
    /// Starts `command` on core `cpu`; what it prints goes to `log`.
    pub fn start(name: &str, command: &Command, cpu: usize, log: &Path) -> io::Result<Self> {
        let (root, usage) = ROOTS
            .iter()
            .map(|(root, usage)| (Path::new(root), usage))
            .find(|(root, usage)| root.join(usage).exists())
            .ok_or_else(|| io::Error::other("no cgroup hierarchy accounts for CPU time"))?;
        let group = root.join(format!("gatehouse-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&group)?;
        let usage = group.join(usage);
        let output = fs::File::create(log)?;
        // The shell enters the group, and becomes the process.
        let mut shell = Command::new("sh");
        shell
            .args(["-c", r#"echo $$ > "$1/cgroup.procs" && shift && exec taskset -c "$@""#, "sh"])
            .arg(&group)
            .arg(cpu.to_string())
            .arg(command.get_program())
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        Ok(Accounted { child: shell.spawn()?, group, usage })
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Duration {
        let text = fs::read_to_string(&self.usage).unwrap_or_default();
        match text.trim().parse() {
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
            Err(_) => {
                let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
                Duration::from_micros(line.and_then(|count| count.parse().ok()).unwrap_or_default())
            }
        }
    }

    /// Memory of all its processes in bytes, shared pages by their part.
    pub fn memory(&self) -> u64 {
        self.processes().filter_map(|process| proportional(&process)).sum()
    }

    /// `None` while it runs.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    fn processes(&self) -> impl Iterator<Item = String> {
        let text = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
    }

    fn signal(&self, signal: &str) {
        for process in self.processes() {
            // One that has ended meanwhile needs none.
            let _ = Command::new("kill").args([signal, &process]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Accounted {
    fn drop(&mut self) {
        self.signal("-TERM");
        let deadline = Instant::now() + LAST_CHANCE;
        while self.processes().next().is_some() && Instant::now() < deadline {
            let _ = self.child.try_wait();
            thread::sleep(Duration::from_millis(5));
        }
        self.signal("-KILL");
        let _ = self.child.wait();
        if let Err(error) = fs::remove_dir(&self.group) {
            let _ = writeln!(io::stderr(), "{}: {error}", self.group.display());
        }
    }
}

fn proportional(process: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}
