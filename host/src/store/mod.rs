//! What pulse-host knows over a restart: one SQLite database in the data directory.
//!
//! A thread of its own takes what the scheduler hands over (see [`crate::ledger`]) and writes it in transactions: at
//! once if somebody waits for it, within a second otherwise. Whoever wants to read does so on a connection of its own and
//! stands in nobody's way.
//!
//! Architecture invariant: what is acknowledged is on disk. When nothing can be written, nothing is forgotten that is
//! needed to go on: of each monitor the last state waits in memory, and facts up to a bound; what is lost is counted.

mod beats;
mod history;
mod inspect;
mod keep;
mod managed;
mod place;
mod read;
mod said;
mod schema;
mod story;
mod write;

#[cfg(test)]
mod tests;

pub use beats::Beats;
pub use history::{Point, Span};
pub use inspect::{Found, Inspected};
pub use managed::{Change, Managed};
pub use place::{DATABASE, Place};
pub use read::{EventRow, IncidentRow, ROWS_MAX, Reader, StepRow, Wanted};
pub use said::Said;
pub use schema::PRESENT;
pub use story::{is_incident, words};

use crate::{
    clock::Clock,
    domain::{
        host::StoreSettings,
        saved::{MonitorKey, Recalled},
        time::Wall,
    },
    ledger::Keeper,
};
use rusqlite::Connection;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

/// Why the store can't be used.
#[derive(Debug)]
pub enum Trouble {
    /// Another process uses the data directory.
    InUse {
        /// The directory.
        folder: PathBuf,
        /// The other's process id, if it says so.
        by: Option<u32>,
    },
    /// It was written by a later version of pulse-host.
    Later {
        /// The database.
        file: PathBuf,
        /// Its schema.
        found: u32,
        /// The last schema that this version knows.
        known: u32,
    },
    /// It can't be opened, read or written.
    Sqlite {
        /// The database.
        file: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// The data directory can't be used.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse { folder, by } => {
                let folder = folder.display();
                write!(f, "the data directory {folder} is in use by another pulse-host")?;
                if let Some(by) = by {
                    write!(f, " (process {by})")?;
                }
                f.write_str("; stop it first, or give this one a directory of its own with [host] data-dir")
            }
            Self::Later { file, found, known } => write!(
                f,
                "{} was written by a later pulse-host (schema {found}, this one knows up to {known}); \
                 use that version, or restore a backup from before the upgrade",
                file.display()
            ),
            Self::Sqlite { file, error } => {
                write!(f, "the database {} can't be used: {error}", file.display())?;
                if is_damage(error) {
                    f.write_str(
                        "; it is damaged: restore a backup, or move it away to start without a memory \
                         (`pulse-host store check` says more)",
                    )?;
                }
                Ok(())
            }
            Self::Io { path, error } if error.kind() == std::io::ErrorKind::NotFound => write!(
                f,
                "there is no {}: no pulse-host has run with this data directory, or not with its store",
                path.display()
            ),
            Self::Io { path, error } => write!(f, "{} can't be used: {error}", path.display()),
        }
    }
}

impl std::error::Error for Trouble {}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}

/// Figures of the store, for whoever shows them.
#[derive(Debug, Default)]
pub struct Figures {
    commits: AtomicU64,
    rows: AtomicU64,
    lost: AtomicU64,
    failures: AtomicU64,
    slowest_us: AtomicU64,
    cpu_ns: AtomicU64,
}

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Transactions.
    pub commits: u64,
    /// Rows in them.
    pub rows: u64,
    /// Facts that were lost because nothing could be written for too long.
    pub lost: u64,
    /// Transactions that failed.
    pub failures: u64,
    /// The longest transaction since the start, in microseconds.
    pub slowest_us: u64,
    /// CPU time of the store's thread, in nanoseconds.
    pub cpu_ns: u64,
}

impl Figures {
    /// The present figures.
    #[must_use]
    pub fn read(&self) -> Written {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Written {
            commits: of(&self.commits),
            rows: of(&self.rows),
            lost: of(&self.lost),
            failures: of(&self.failures),
            slowest_us: of(&self.slowest_us),
            cpu_ns: of(&self.cpu_ns),
        }
    }
}

/// A store that is open, and what it remembers.
pub struct Store {
    connection: Connection,
    place: Place,
    settings: StoreSettings,
    clock: Clock,
}

impl Store {
    /// Opens the store of a data directory, which is this process's alone from now on, and makes it what this version
    /// expects.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub fn open(data_dir: &Path, settings: StoreSettings, clock: Clock) -> Result<Self, Trouble> {
        let place = Place::take(data_dir)?;
        let connection = place.connect()?;
        schema::migrate(&connection).map_err(|wrong| wrong.of(place.file()))?;
        Ok(Self {
            connection,
            place,
            settings,
            clock,
        })
    }

    /// What was put down of monitors.
    ///
    /// # Errors
    /// When the database can't be read, or holds what no version wrote.
    pub fn recall(&self) -> Result<HashMap<MonitorKey, Recalled>, Trouble> {
        keep::recall(&self.connection).map_err(|error| self.place.sqlite(error))
    }

    /// What belongs to no monitor any more is put away: its incident ends, and what it had to say is on record as not
    /// delivered.
    ///
    /// # Errors
    /// When the database can't be written.
    pub fn bury(&mut self, orphans: &[(MonitorKey, Recalled)], at: Wall) -> Result<(), Trouble> {
        keep::bury(&mut self.connection, orphans, at).map_err(|error| self.place.sqlite(error))
    }

    /// What operators say of monitors.
    ///
    /// # Errors
    /// When the database can't be opened once more.
    pub fn said(&self) -> Result<Said, Trouble> {
        Ok(Said::new(self.place.connect()?))
    }

    /// Monitors that are given over the API.
    ///
    /// # Errors
    /// When the database can't be opened once more.
    pub fn managed(&self) -> Result<Managed, Trouble> {
        Ok(Managed::new(self.place.connect()?))
    }

    /// When heartbeat monitors were heard.
    ///
    /// # Errors
    /// When the database can't be opened once more.
    pub fn beats(&self) -> Result<Beats, Trouble> {
        Ok(Beats::new(self.place.connect()?))
    }

    /// Starts the thread that writes.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(self, keeper: Keeper) -> std::io::Result<Running> {
        let figures = Arc::new(Figures::default());
        let file = self.place.file().to_owned();
        let counted = Arc::clone(&figures);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                write::Writer::new(self.connection, self.settings, counted, self.clock).run(&keeper);
                // The place is given up when everything is written, and not before.
                drop(self.place);
            })?;
        Ok(Running {
            thread,
            figures,
            file,
        })
    }
}

/// A store that writes on its own thread.
pub struct Running {
    thread: JoinHandle<()>,
    figures: Arc<Figures>,
    file: PathBuf,
}

impl Running {
    /// Its present figures.
    #[must_use]
    pub fn written(&self) -> Written {
        self.figures.read()
    }

    /// Its figures, which go on: for whoever looks again and again.
    #[must_use]
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Whoever reads from it.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.file.clone())
    }

    /// Waits until everything is written, and tells how much that was. The scheduler must have ended, or this waits for
    /// ever.
    pub fn stop(self) -> Written {
        // Whatever it died of was said then; what it had not acknowledged is not on record.
        let _ = self.thread.join();
        self.figures.read()
    }
}
