//! The child that compiles: a process of the same program, whose memory, CPU time and output are limited before it
//! reads the first byte of a component. It gives way to everything else on the machine, is the first to go when memory
//! runs out, and does not outlive its parent.

use super::screen;
use crate::{domain::host::CompilerSettings, sandbox::engine};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use std::{
    ffi::OsStr,
    io::Read as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
    time::Duration,
};
use wasmtime::Engine;

/// The hidden subcommand: `pulse-host compile-component FROM TO LIMITS`.
pub const SUBCOMMAND: &str = "compile-component";

/// Everything that decides whether a component can be compiled, in one line: where it is another, that is another
/// question.
pub(super) fn circumstances(settings: &CompilerSettings) -> String {
    format!(
        "{},{},{},{}",
        ChildLimits::of(settings).word(),
        settings.timeout.as_millis(),
        settings.threads,
        env!("CARGO_PKG_VERSION"),
    )
}

/// This program, whatever has become of its file since it was started.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// How often the parent looks after it.
const POLL: Duration = Duration::from_millis(2);
/// What it may say.
const SAID_BYTES_MAX: u64 = 16 << 10;
/// After its CPU time the kernel asks it to stop; after that much more it does not ask.
const CPU_GRACE_SECONDS: u64 = 2;
/// More than it opens, with what a runtime opens for itself.
const FILES_MAX: u64 = 64;
/// The least urgent there is.
const NICE: i32 = 19;
/// It found that the component can't be used, and would find so again.
const REFUSED: u8 = 3;

/// Why nothing was compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is the component's own doing, and would be the same the next time.
    Component(String),
    /// It took too long, which may as well be the doing of whatever else the machine was busy with.
    Slow(String),
    /// Something else went wrong.
    Host(String),
}

impl Failure {
    /// One line for people.
    #[must_use]
    pub fn into_message(self) -> String {
        match self {
            Self::Component(message) | Self::Slow(message) | Self::Host(message) => message,
        }
    }
}

/// What the child is held to; one word on its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildLimits {
    /// Of address space.
    memory_bytes: u64,
    cpu_seconds: u64,
    /// Of a file that it writes.
    file_bytes: u64,
}

impl ChildLimits {
    pub(super) fn of(settings: &CompilerSettings) -> Self {
        Self {
            memory_bytes: settings.memory_bytes,
            cpu_seconds: settings.cpu.as_secs().max(1),
            file_bytes: settings.cache_bytes,
        }
    }

    /// As the child reads it.
    pub(super) fn word(self) -> String {
        format!("{},{},{}", self.memory_bytes, self.cpu_seconds, self.file_bytes)
    }

    fn parse(word: &str) -> Option<Self> {
        let mut numbers = word.split(',').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let limits = Self {
            memory_bytes: next()?,
            cpu_seconds: next()?,
            file_bytes: next()?,
        };
        numbers.next().is_none().then_some(limits)
    }
}

/// The path by which this program starts itself again: it leads to the very file that runs, also when another one has
/// taken its place or nothing has.
///
/// # Errors
/// When the system does not say what runs.
pub fn own_program() -> std::io::Result<PathBuf> {
    let own = Path::new(OWN_PROGRAM);
    if own.exists() {
        return Ok(own.to_owned());
    }
    std::env::current_exe()
}

/// What the child does with the words after [`SUBCOMMAND`]: compiles FROM into TO, within LIMITS.
#[must_use]
pub fn main(words: &[impl AsRef<OsStr>]) -> ExitCode {
    let outcome = match words {
        [from, to, limits] => match limits.as_ref().to_str().and_then(ChildLimits::parse) {
            Some(limits) => compile(Path::new(from), Path::new(to), limits),
            None => Err(Failure::Host(format!("{SUBCOMMAND}: these are no limits"))),
        },
        _ => Err(Failure::Host(format!("{SUBCOMMAND} needs two paths and limits"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let code = match failure {
                Failure::Component(_) => ExitCode::from(REFUSED),
                Failure::Slow(_) | Failure::Host(_) => ExitCode::FAILURE,
            };
            eprintln!("{}", failure.into_message());
            code
        }
    }
}

fn compile(from: &Path, to: &Path, limits: ChildLimits) -> Result<(), Failure> {
    confine(limits).map_err(|error| Failure::Host(format!("no limits could be set: {error}")))?;
    let bytes = std::fs::read(from)
        .map_err(|error| Failure::Host(format!("{} can't be read: {error}", from.display())))?;
    let engine =
        Engine::new(&engine::base()).map_err(|error| Failure::Host(format!("no engine: {error}")))?;
    let compiled = precompile(&engine, &bytes).map_err(Failure::Component)?;
    super::cache::write_private(to, &compiled).map_err(Failure::Host)
}

/// Screens and compiles.
pub(super) fn precompile(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, String> {
    screen::screen(bytes)?;
    engine
        .precompile_component(bytes)
        .map_err(|error| format!("does not compile: {}", crate::sandbox::classify::one_line(&error)))
}

fn confine(limits: ChildLimits) -> std::io::Result<()> {
    let limit = |resource, soft, hard| {
        let limit = Rlimit {
            current: Some(soft),
            maximum: Some(hard),
        };
        setrlimit(resource, limit).map_err(std::io::Error::from)
    };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    limit(Resource::As, limits.memory_bytes, limits.memory_bytes)?;
    limit(
        Resource::Cpu,
        limits.cpu_seconds,
        limits.cpu_seconds.saturating_add(CPU_GRACE_SECONDS),
    )?;
    limit(Resource::Fsize, limits.file_bytes, limits.file_bytes)?;
    limit(Resource::Nofile, FILES_MAX, FILES_MAX)?;
    // What it dies of is told by its exit, and a core would be as large as it may become.
    limit(Resource::Core, 0, 0)?;
    // Where these can't be had, the limits above still hold.
    let _ = rustix::process::nice(NICE);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Has a child compile one file into another. `so_far` hears now and then how long it has taken.
pub(super) fn run(
    program: &Path,
    from: &Path,
    to: &Path,
    settings: &CompilerSettings,
    mut so_far: impl FnMut(Duration),
) -> Result<(), Failure> {
    let mut child = Command::new(program)
        .arg0("pulse-host")
        .arg(SUBCOMMAND)
        .args([from, to])
        .arg(ChildLimits::of(settings).word())
        .env_clear()
        // Each thread takes address space for itself, and a core from the checks.
        .env("RAYON_NUM_THREADS", settings.threads.to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Failure::Host(format!(
                "the compiler {} can't be started: {error}",
                program.display()
            ))
        })?;
    let stderr = child.stderr.take();
    std::thread::scope(|scope| {
        // A pipe that nobody reads would hold up a child that has much to say.
        let said = scope.spawn(|| {
            let mut said = String::new();
            if let Some(mut stderr) = stderr {
                let mut bytes = Vec::new();
                let _ = stderr.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut bytes);
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
                said = String::from_utf8_lossy(&bytes).into_owned();
            }
            said
        });
        let mut waited = Duration::ZERO;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if waited < settings.timeout => {
                    std::thread::sleep(POLL);
                    waited += POLL;
                    so_far(waited);
                }
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Failure::Slow(format!(
                        "took longer than {:?} to compile and was stopped; [host] compiler.timeout allows more",
                        settings.timeout
                    )));
                }
                Err(error) => return Err(Failure::Host(format!("the compiler got lost: {error}"))),
            }
        };
        let said = said.join().unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        Err(died(status, &said, settings))
    })
}

/// What the child's end means.
fn died(status: ExitStatus, said: &str, settings: &CompilerSettings) -> Failure {
    let lines = || said.lines().filter(|line| !line.trim().is_empty());
    let last = lines().next_back().unwrap_or_default().to_owned();
    if status.code() == Some(i32::from(REFUSED)) {
        return Failure::Component(last);
    }
    let memory = || {
        Failure::Component(format!(
            "needs more than {} MiB of memory to compile; [host] compiler.memory allows more",
            settings.memory_bytes >> 20
        ))
    };
    let out_of_memory = ["memory allocation of", "Cannot allocate memory", "out of memory"];
    if lines().any(|line| out_of_memory.iter().any(|sign| line.contains(sign))) {
        return memory();
    }
    match status.signal() {
        Some(signal) if signal == Signal::XCPU.as_raw() => Failure::Component(format!(
            "needs more than {:?} of CPU time to compile; [host] compiler.cpu allows more",
            settings.cpu
        )),
        Some(signal) if signal == Signal::XFSZ.as_raw() => Failure::Component(format!(
            "its machine code is larger than {} MiB; [host] compiler.cache-size allows more",
            settings.cache_bytes >> 20
        )),
        // Who runs out of stack or of pages in the middle of something does not come to say so.
        Some(signal)
            if [Signal::ABORT, Signal::BUS, Signal::SEGV]
                .iter()
                .any(|other| other.as_raw() == signal) =>
        {
            Failure::Component(format!("the compiler died of it ({status})"))
        }
        Some(_) => Failure::Host(format!("the compiler was killed ({status})")),
        None if last.is_empty() => Failure::Host(format!("could not be compiled ({status})")),
        None => {
            // After a panic the message stands in its second line.
            let message = lines()
                .nth(1)
                .filter(|_| said.contains("panicked"))
                .unwrap_or(&last);
            Failure::Host(message.to_owned())
        }
    }
}
