//! What is told to the service manager that started this process: systemd's `sd_notify(3)`, and whatever speaks it.
//!
//! Architecture invariant: the watchdog hears that all is well only while the scheduler's own thread runs; whatever else is
//! still alive does not count. Nothing that the service manager does holds anything up here.

use super::punctual::Punctual;
use crate::{
    clock::Clock,
    domain::{health::State, time::Mono},
    journal::counted,
};
use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Where the service manager listens: a path, or a name that begins with `@`.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How often it wants to hear, in microseconds, and whom it wants to hear.
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// That long it is waited for somebody who takes nothing.
const SEND_MAX: Duration = Duration::from_secs(1);
/// The line of `systemctl status` is looked at that often.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// So often it is looked whether the scheduler has run for the first time.
const FIRST_RUN_EVERY: Duration = Duration::from_millis(20);
/// Where the watchdog was not told because the scheduler stood still, it is looked again after that part of its interval.
const LOOKS_AGAIN: u32 = 8;

/// A line to the service manager. Without one, everything said goes nowhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Supervisor(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
    clock: Clock,
    /// How often the watchdog must be told.
    watchdog: Option<Duration>,
    said: Mutex<Said>,
}

/// What was said last.
#[derive(Debug, Default)]
struct Said {
    status: String,
    /// It could not be said, which the log has.
    failed: bool,
    /// What became of the last reload, if that was nothing.
    wrong: Option<String>,
}

impl Supervisor {
    /// The one that the environment names.
    pub fn of_environment(clock: &Clock) -> Self {
        let Some(name) = std::env::var_os(SOCKET).filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        let number = |name| {
            let text = std::env::var(name).ok()?;
            text.parse::<u64>().ok()
        };
        let meant = number(WATCHDOG_PID).is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number(WATCHDOG).filter(|usec| meant && *usec > 0);
        Self::open(name.as_bytes(), watchdog.map(Duration::from_micros), clock).unwrap_or_else(|error| {
            tracing::warn!("${SOCKET} can't be used, so that the service manager hears nothing: {error}");
            Self::default()
        })
    }

    fn open(name: &[u8], watchdog: Option<Duration>, clock: &Clock) -> std::io::Result<Self> {
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(std::path::Path::new(std::ffi::OsStr::from_bytes(name)))?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_MAX))?;
        Ok(Self(Some(Arc::new(Line {
            socket,
            address,
            clock: clock.clone(),
            watchdog,
            said: Mutex::default(),
        }))))
    }

    /// Everything is read anew from now on, until [`Supervisor::reloaded`].
    pub fn reloading(&self) {
        if let Some(line) = &self.0 {
            let now = line.clock.machine().as_micros();
            line.say(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
        }
    }

    /// That is over, and what it came to. The service manager has no word for a reload that was refused: what ran before
    /// runs on, and the status says so.
    pub fn reloaded(&self, told: &Result<String, String>) {
        if let Some(line) = &self.0 {
            let wrong = told.as_ref().err();
            line.lock().wrong = wrong.map(|wrong| wrong.lines().next().unwrap_or_default().to_owned());
            line.say("READY=1");
        }
    }

    /// No more checks; what runs may end.
    pub fn stopping(&self) {
        if let Some(line) = &self.0 {
            line.say("STOPPING=1\nSTATUS=Stopping: what runs may end");
        }
    }

    /// Says that the host is ready once the scheduler has run, then how it is and, as often as the watchdog wants it and no
    /// longer than the scheduler runs, that it lives. Ends where nobody listens.
    pub async fn accompany(self, mut punctual: Punctual) {
        let Some(line) = self.0 else {
            return;
        };
        while punctual.stats().at() == Mono::default() {
            tokio::time::sleep(FIRST_RUN_EVERY).await;
        }
        line.say(&format!(
            "READY=1\nSTATUS={}",
            line.status(&mut punctual).unwrap_or_default()
        ));
        tracing::info!("the service manager was told that the host is ready");
        let Some(watchdog) = line.watchdog else {
            loop {
                tokio::time::sleep(STATUS_EVERY).await;
                line.tell_status(&mut punctual);
            }
        };
        let every = watchdog / 2;
        let mut still = false;
        loop {
            let pause = match punctual.runs() {
                Ok(()) => {
                    line.say("WATCHDOG=1");
                    still = false;
                    every
                }
                Err(trouble) => {
                    if !std::mem::replace(&mut still, true) {
                        tracing::error!(
                            "{trouble}: the service manager's watchdog is not told that all is well"
                        );
                    }
                    every / LOOKS_AGAIN
                }
            };
            line.tell_status(&mut punctual);
            tokio::time::sleep(pause).await;
        }
    }
}

impl Line {
    fn lock(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, words: &str) {
        let sent = self.socket.send_to_addr(words.as_bytes(), &self.address);
        let mut said = self.lock();
        if let Err(error) = &sent
            && !said.failed
        {
            tracing::warn!("the service manager can't be told anything: {error}");
        }
        said.failed = sent.is_err();
    }

    fn tell_status(&self, punctual: &mut Punctual) {
        if let Some(status) = self.status(punctual) {
            self.say(&format!("STATUS={status}"));
        }
    }

    /// How the host is, in one line; none: as was said last.
    fn status(&self, punctual: &mut Punctual) -> Option<String> {
        let snapshot = punctual.stats().snapshot();
        let all: u64 = snapshot.states.values().sum();
        let mut status = format!("Watching {}", counted(all, "monitor"));
        for state in State::ALL.iter().filter(|state| **state != State::Up) {
            let count = snapshot.states.get(state.name()).copied().unwrap_or_default();
            if count > 0 {
                status.push_str(&format!(", {count} {}", state.name()));
            }
        }
        if let Err(trouble) = punctual.look() {
            status = format!("In trouble: {trouble}");
        }
        let mut said = self.lock();
        if let Some(wrong) = &said.wrong {
            status.push_str(&format!("; the last reload changed nothing: {wrong}"));
        }
        if said.status == status {
            return None;
        }
        said.status.clone_from(&status);
        Some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::punctual::STALE,
        domain::time::{Mono, Wall},
        scheduler::stats::Stats,
    };

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_told_at_a_path_and_under_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("@{}", folder.path().display());
        let (clock, _) = Clock::manual(Mono(5_000_000), Wall(0));
        let at_path = UnixDatagram::bind(&path).unwrap();
        let abstract_name = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let named = UnixDatagram::bind_addr(&abstract_name).unwrap();
        for (name, socket) in [(path.to_str().unwrap(), at_path), (name.as_str(), named)] {
            let supervisor = Supervisor::open(name.as_bytes(), None, &clock).unwrap();
            supervisor.reloading();
            assert_eq!(heard(&socket), "RELOADING=1\nMONOTONIC_USEC=5000");
            supervisor.reloaded(&Err("wrong\nat length".into()));
            assert_eq!(heard(&socket), "READY=1");
            let line = supervisor.0.as_ref().unwrap();
            line.tell_status(&mut Punctual::new(Stats::default(), clock.clone()));
            assert_eq!(
                heard(&socket),
                "STATUS=Watching 0 monitors; the last reload changed nothing: wrong"
            );
            supervisor.stopping();
            assert!(heard(&socket).starts_with("STOPPING=1\nSTATUS="));
        }
    }

    #[test]
    fn nobody_who_listens_is_no_harm() {
        let (clock, _) = Clock::manual(Mono(0), Wall(0));
        let supervisor = Supervisor::open(b"/nowhere/at/all", None, &clock).unwrap();
        supervisor.reloading();
        supervisor.stopping();
        assert!(Supervisor::open(&[b'x'; 500], None, &clock).is_err());
        Supervisor::default().stopping();
    }

    #[tokio::test]
    async fn the_watchdog_hears_nothing_while_the_scheduler_stands_still() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
        let (clock, hand) = Clock::manual(Mono(1), Wall(0));
        let stats = Stats::testing_at(Mono(1));
        let watchdog = Some(Duration::from_millis(20));
        let name = path.to_str().unwrap().as_bytes();
        let supervisor = Supervisor::open(name, watchdog, &clock).unwrap();
        let task = tokio::spawn(supervisor.accompany(Punctual::new(stats, clock)));
        let hear = async || {
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).await.unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(hear().await, "READY=1\nSTATUS=Watching 0 monitors");
        for _ in 0..3 {
            assert_eq!(hear().await, "WATCHDOG=1");
        }
        hand.advance(STALE * 2);
        // What was under way when the time went on may still come.
        while !hear()
            .await
            .starts_with("STATUS=In trouble: the scheduler has not run")
        {}
        let more = tokio::time::timeout(Duration::from_millis(200), hear()).await;
        assert!(more.is_err(), "{more:?}");
        task.abort();
    }
}
