//! Starting a command: this program starts itself once more, takes limits upon itself, and becomes the command.
//!
//! So the limits hold from the command's first instruction on, and whether it could be started is known for certain: the
//! launcher says what went wrong through a pipe that closes by itself when the command takes its place.

use super::{Ending, output};
use crate::domain::command::Command;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use std::{
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};
use tokio::{io::AsyncReadExt as _, net::unix::pipe::Receiver, process::Child};

/// The hidden subcommand: `pulse-host run-command LIMITS DIR PROGRAM [ARG…]`.
pub const SUBCOMMAND: &str = "run-command";

/// After its CPU time the kernel asks a process to stop; after that much more it does not ask.
const CPU_GRACE_SECONDS: u64 = 2;
/// Open files of a process: what programs of old expect, however many the host itself may have.
const FILES: u64 = 1024;
/// What the launcher may say.
const SAID_BYTES_MAX: u64 = 1 << 10;

/// How commands are started.
#[derive(Clone, Debug)]
pub enum Launcher {
    /// By that program, which is this one and knows [`SUBCOMMAND`].
    Own(PathBuf),
    /// This process can't: its program is another one.
    None,
    /// Without limits, in tests of this module, whose program is another one.
    #[cfg(test)]
    Plain,
}

/// Why a command was not started.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// The host has no process, memory or descriptor left.
    NoRoom(String),
    /// Something about the command.
    Refused(String),
}

impl NotStarted {
    pub(super) fn message(&self) -> &str {
        match self {
            Self::NoRoom(message) | Self::Refused(message) => message,
        }
    }
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        let own = [
            rustix::io::Errno::AGAIN,
            rustix::io::Errno::NOMEM,
            rustix::io::Errno::MFILE,
            rustix::io::Errno::NFILE,
        ];
        let is_own = error
            .raw_os_error()
            .is_some_and(|number| own.iter().any(|errno| errno.raw_os_error() == number));
        if is_own {
            Self::NoRoom(error.to_string())
        } else {
            Self::Refused(error.to_string())
        }
    }
}

/// A process that runs, with its whole group. It ends with this.
pub(super) struct Running {
    child: Child,
    /// Readable when it has ended. No pipe, but a file that is waited for in the same way.
    end: Receiver,
    /// None once the group is gone: its number may be somebody else's by then.
    group: Option<Pid>,
}

impl Running {
    /// Starts a command; also returns what it will write to standard output and standard error.
    pub(super) async fn start(
        launcher: &Launcher,
        command: &Command,
        args: &[String],
    ) -> Result<(Self, [Receiver; 2]), NotStarted> {
        let ((out, to_out), (err, to_err)) = (output::pipe()?, output::pipe()?);
        let (said, to_say) = output::pipe()?;
        let mut process = match launcher {
            Launcher::Own(program) => {
                let mut process = tokio::process::Command::new(program);
                process
                    .arg0("pulse-host")
                    .arg(SUBCOMMAND)
                    .arg(Limits::of(command).word())
                    .args([&command.dir, &command.program])
                    .stdin(Stdio::from(to_say));
                process
            }
            #[cfg(test)]
            Launcher::Plain => {
                let mut process = tokio::process::Command::new(&command.program);
                process.current_dir(&command.dir).stdin(Stdio::null());
                drop(to_say);
                process
            }
            Launcher::None => return Err(NotStarted::Refused("this program runs no commands".to_owned())),
        };
        process
            .args(args)
            .env_clear()
            .envs(command.env.iter().map(|(name, value)| (&**name, &**value)))
            .stdout(Stdio::from(to_out))
            .stderr(Stdio::from(to_err))
            .process_group(0)
            .kill_on_drop(true);
        let child = process.spawn()?;
        // Our copies of the writing ends are in there.
        drop(process);
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
            .ok_or_else(|| NotStarted::Refused("it has no number".to_owned()))?;
        let guard = Group(Some(pid));
        let end = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(io::Error::from)?;
        let end = Receiver::from_owned_fd_unchecked(end)?;
        let mut running = Self {
            child,
            end,
            group: guard.release(),
        };
        match words(said).await {
            said if said.is_empty() => Ok((running, [out, err])),
            said => {
                let _ = running.ended().await;
                let _ = running.reap().await;
                Err(NotStarted::Refused(said))
            }
        }
    }

    /// Waits for its end, without taking its number from it.
    pub(super) async fn ended(&self) -> io::Result<()> {
        self.end.readable().await
    }

    /// Kills what it has left behind, and says how it ended. To be called when it has.
    pub(super) async fn reap(&mut self) -> io::Result<Ending> {
        // As long as nobody has asked how it ended, its number stands for nothing else.
        drop(Group(self.group.take()));
        let status = self.child.wait().await?;
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Exited(code),
            (None, signal) => Ending::Killed(signal.unwrap_or_default()),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(Group(self.group.take()));
    }
}

/// A group of processes, which dies with this.
struct Group(Option<Pid>);

impl Group {
    fn release(mut self) -> Option<Pid> {
        self.0.take()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// What the launcher says, which is nothing where all went well.
async fn words(pipe: Receiver) -> String {
    let mut said = Vec::new();
    let _ = pipe.take(SAID_BYTES_MAX).read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

/// What a command is held to; one word on the launcher's command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    memory_bytes: u64,
    cpu_seconds: u64,
}

impl Limits {
    fn of(command: &Command) -> Self {
        Self {
            memory_bytes: command.memory_bytes,
            cpu_seconds: command.cpu_seconds,
        }
    }

    fn word(self) -> String {
        format!("{},{}", self.memory_bytes, self.cpu_seconds)
    }

    fn parse(word: &OsStr) -> Option<Self> {
        let (memory, cpu) = word.to_str()?.split_once(',')?;
        Some(Self {
            memory_bytes: memory.parse().ok()?,
            cpu_seconds: cpu.parse().ok()?,
        })
    }
}

/// What the launcher does with the words after [`SUBCOMMAND`]: it becomes the command, or says why not to whoever holds
/// the other end of its standard input.
#[must_use]
pub fn main(words: &[OsString]) -> ExitCode {
    // A copy that is closed when the command takes this process's place.
    let Ok(tell) = io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    let why = match words {
        [limits, dir, program, args @ ..] => match Limits::parse(limits) {
            Some(limits) => becomes(limits, Path::new(dir), program, args),
            None => format!("{SUBCOMMAND}: these are no limits"),
        },
        _ => format!("{SUBCOMMAND} needs limits, a directory and a program"),
    };
    let _ = std::fs::File::from(tell).write_all(why.as_bytes());
    ExitCode::FAILURE
}

/// Returns only where it fails.
fn becomes(limits: Limits, dir: &Path, program: &OsStr, args: &[OsString]) -> String {
    if let Err(error) = std::env::set_current_dir(dir) {
        return format!("{}: {error}", dir.display());
    }
    let mut command = std::process::Command::new(program);
    command.args(args).stdin(Stdio::null());
    // Last, since whatever this process still asks for is held to them, too.
    if let Err(error) = confine(limits) {
        return format!("no limits could be set: {error}");
    }
    format!("{}: {}", Path::new(program).display(), command.exec())
}

fn confine(limits: Limits) -> io::Result<()> {
    // What this process itself may not exceed can't be raised.
    let set = |resource, soft: u64, hard: Option<u64>| {
        let bound = rustix::process::getrlimit(resource).maximum;
        let within = |limit: u64| bound.map_or(limit, |bound| limit.min(bound));
        let limit = Rlimit {
            current: Some(within(soft)),
            maximum: hard.map(within).or(bound),
        };
        rustix::process::setrlimit(resource, limit).map_err(io::Error::from)
    };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    set(Resource::Core, 0, Some(0))?;
    set(Resource::Nofile, FILES, None)?;
    let cpu = limits.cpu_seconds;
    set(Resource::Cpu, cpu, Some(cpu.saturating_add(CPU_GRACE_SECONDS)))?;
    set(Resource::As, limits.memory_bytes, Some(limits.memory_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_one_word() {
        let limits = Limits {
            memory_bytes: 1 << 30,
            cpu_seconds: 7,
        };
        assert_eq!(Limits::parse(OsStr::new(&limits.word())), Some(limits));
        for bad in ["", "1", "1,", "1,2,3", "a,b"] {
            assert_eq!(Limits::parse(OsStr::new(bad)), None, "{bad}");
        }
    }
}
