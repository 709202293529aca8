//! What the kernel says about this process.

use anyhow::{Context as _, Result};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Clock ticks of `/proc` a second; fixed on Linux for user space (proc_pid_stat(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time, faults and memory at one moment.
pub struct Figures {
    pub cpu: Duration,
    pub minor_faults: u64,
    pub rss_bytes: u64,
}

impl Figures {
    /// Of this process.
    pub fn now() -> Result<Self> {
        let (cpu, minor_faults) = stat("self")?;
        Ok(Self {
            cpu,
            minor_faults,
            rss_bytes: rss_bytes()?,
        })
    }

    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            minor_faults: self.minor_faults - earlier.minor_faults,
            rss_bytes: self.rss_bytes,
        }
    }
}

/// CPU time of a process, its threads included, so far.
pub fn cpu_of(process: u32) -> Result<Duration> {
    Ok(stat(&process.to_string())?.0)
}

/// CPU time of a process's threads of that name so far.
pub fn cpu_of_threads(process: u32, name: &str) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        // One that has ended meanwhile is none of those that are looked for.
        let Ok(found) = std::fs::read_to_string(task.join("comm")) else {
            continue;
        };
        if found.trim() == name {
            sum += read_stat(&task.join("stat"))?.0;
        }
    }
    Ok(sum)
}

/// CPU time and minor faults of a process.
fn stat(process: &str) -> Result<(Duration, u64)> {
    read_stat(Path::new(&format!("/proc/{process}/stat")))
}

fn read_stat(path: &Path) -> Result<(Duration, u64)> {
    let name = || path.display().to_string();
    let stat = std::fs::read_to_string(path).with_context(name)?;
    // The second field, the program's name, may hold anything but is in parentheses.
    let (_, rest) = stat.rsplit_once(')').with_context(name)?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| -> Result<u64> { Ok(fields.get(number - 3).with_context(name)?.parse()?) };
    let ticks = field(14)? + field(15)?;
    Ok((
        Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND),
        field(10)?,
    ))
}

/// Resident memory of this process.
pub fn rss_bytes() -> Result<u64> {
    status("VmRSS:")
}

/// The part of it that is pages of files, which all mappings of a file share: compiled code, and the images that
/// linear memories start from. Each mapping counts them anew.
pub fn rss_of_files_bytes() -> Result<u64> {
    status("RssFile:")
}

fn status(key: &str) -> Result<u64> {
    status_of(std::process::id(), key)
}

/// An amount of memory that the kernel tells of a process, in bytes.
pub fn status_of(process: u32, key: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .with_context(|| format!("{key} in {path}"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// A folder for compiled components and results, in the build folder.
pub fn scratch() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program
        .parent()
        .context("the program has no folder")?
        .join("bench-data");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
