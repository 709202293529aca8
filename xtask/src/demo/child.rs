//! The program under demonstration, from its start to its end.
//!
//! It shares the terminal and its process group: a Ctrl-C reaches it directly. It is always waited for, so that
//! nothing is left behind, and killed only if it does not stop in time.

use crate::{shell, stopwatch::Stopwatch};
use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    io::IsTerminal as _,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

/// A child process and the signals that are meant for it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    events: Receiver<Event>,
    /// How long it may take to stop before it is killed.
    patience: Duration,
    /// Since when it should stop.
    stopping: Option<Stopwatch>,
    killed: bool,
}

#[derive(Debug)]
enum Event {
    Ended(std::io::Result<ExitStatus>),
    Signal(i32),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With that exit code; 128 and its number for a signal, as shells say it.
    Code(u8),
    /// It did not stop when it was told to.
    Killed,
}

impl Child {
    /// Starts it. From now on SIGINT, SIGTERM and SIGHUP end the child first.
    pub fn start(command: &mut Command, patience: Duration) -> Result<Self> {
        // Before the child is there: a signal in between must not leave it alone.
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let words = shell::words(command);
        let mut child = command
            .spawn()
            .with_context(|| format!("`{words}` could not be started"))?;
        let pid = Pid::from_child(&child);
        let (sender, events) = channel();
        let ended = sender.clone();
        std::thread::spawn(move || {
            let _ = ended.send(Event::Ended(child.wait()));
        });
        std::thread::spawn(move || {
            for signal in signals.forever() {
                if sender.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            pid,
            events,
            patience,
            stopping: None,
            killed: false,
        })
    }

    /// Asks it to stop; once is enough.
    pub fn stop(&mut self) -> Result<()> {
        if self.stopping.is_none() {
            self.stopping = Some(Stopwatch::start());
            self.send(Signal::TERM)?;
        }
        Ok(())
    }

    /// Waits for its end, at most that long. None: it still runs.
    pub fn wait(&mut self, most: Option<Duration>) -> Result<Option<Ending>> {
        let patience = self
            .stopping
            .map(|since| self.patience.saturating_sub(since.elapsed()));
        if patience == Some(Duration::ZERO) && !self.killed {
            self.killed = true;
            self.send(Signal::KILL)?;
        }
        // While it stops, only its end and its patience matter.
        let event = match patience
            .filter(|_| !self.killed)
            .or(most.filter(|_| patience.is_none()))
        {
            Some(most) => match self.events.recv_timeout(most) {
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                event => event.ok(),
            },
            None => self.events.recv().ok(),
        };
        match event.context("nobody waits for the child any more")? {
            Event::Ended(status) => Ok(Some(self.ending(status?))),
            Event::Signal(signal) => {
                self.pass_on(signal)?;
                Ok(None)
            }
        }
    }

    fn pass_on(&mut self, signal: i32) -> Result<()> {
        let (signal, at_terminal) = match signal {
            SIGINT => (Signal::INT, true),
            SIGHUP => (Signal::HUP, true),
            _ => (Signal::TERM, false),
        };
        self.stopping.get_or_insert_with(Stopwatch::start);
        // A terminal sends its signals to the whole group; a second one would mean "at once".
        if !(at_terminal && std::io::stdin().is_terminal()) {
            self.send(signal)?;
        }
        Ok(())
    }

    fn send(&self, signal: Signal) -> Result<()> {
        match kill_process(self.pid, signal) {
            // It has ended by itself just now, and is reaped already.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("sending a signal to pulse-host"),
        }
    }

    fn ending(&self, status: ExitStatus) -> Ending {
        if self.killed {
            return Ending::Killed;
        }
        let code = status
            .code()
            .unwrap_or_else(|| status.signal().map_or(1, |signal| 128 + signal));
        Ending::Code(u8::try_from(code).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start(Command::new("sh").args(["-c", script]), Duration::from_secs(600)).unwrap()
    }

    #[test]
    fn it_is_killed_when_it_does_not_stop() {
        // Ignored signals stay so over exec, and `sleep` would outlast any test.
        let mut child = Child::start(
            Command::new("sh").args(["-c", "trap '' TERM; exec sleep 600"]),
            Duration::ZERO,
        )
        .unwrap();
        child.stop().unwrap();
        assert_eq!(child.wait(None).unwrap(), Some(Ending::Killed));
    }

    #[test]
    fn its_exit_code_is_handed_on() {
        assert_eq!(shell("exit 7").wait(None).unwrap(), Some(Ending::Code(7)));
        assert_eq!(
            shell("kill -KILL $$").wait(None).unwrap(),
            Some(Ending::Code(137))
        );
    }

    #[test]
    fn it_is_told_to_stop_and_waited_for() {
        let folder = std::env::temp_dir().join(format!("xtask-child-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let fifo = folder.join("ready");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // Says that its trap is set before the test sends anything; `wait` is what a trap interrupts.
        let mut child = shell(&format!(
            "trap 'kill -KILL $!; exit 3' TERM; sleep 600 & echo up > {}; wait",
            fifo.display()
        ));
        assert_eq!(std::fs::read_to_string(&fifo).unwrap(), "up\n");
        assert_eq!(child.wait(Some(Duration::ZERO)).unwrap(), None, "it runs");
        child.stop().unwrap();
        child.stop().unwrap();
        assert_eq!(child.wait(None).unwrap(), Some(Ending::Code(3)));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
