//! Where the store lies, and that no two processes use it.

use super::Trouble;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// The database's name in the data directory.
pub const DATABASE: &str = "pulse-host.db";
/// Whoever holds this file's lock owns the directory. The kernel gives it back when the process ends, however it does.
const LOCK: &str = "pulse-host.pid";
/// A reader may meet a writer in the moment of a checkpoint.
const BUSY: Duration = Duration::from_secs(5);
/// The log is cut back to that size after a checkpoint.
const LOG_BYTES: i64 = 64 << 20;
/// Pages that a connection keeps in memory, in KiB.
const CACHE_KIB: i64 = 8 << 10;

/// The place of a store, owned by this process.
#[derive(Debug)]
pub struct Place {
    file: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes a data directory, which is made if it is not there.
    ///
    /// # Errors
    /// When it is in use, or can't be made or written.
    pub fn take(data_dir: &Path) -> Result<Self, Trouble> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| Trouble::Io { path, error }
        };
        if !data_dir.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(data_dir)
                .map_err(io(data_dir))?;
        }
        let path = data_dir.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io(&path))?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io(&path)(error.into()));
            }
            let mut text = String::new();
            let by = lock
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            return Err(Trouble::InUse {
                folder: data_dir.to_owned(),
                by,
            });
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(io(&path))?;
        Ok(Self {
            file: data_dir.join(DATABASE),
            _lock: lock,
        })
    }

    /// The database.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What SQLite says about it.
    #[must_use]
    pub fn sqlite(&self, error: rusqlite::Error) -> Trouble {
        Trouble::Sqlite {
            file: self.file.clone(),
            error,
        }
    }

    /// A connection that writes.
    ///
    /// # Errors
    /// When the database can't be made or opened.
    pub fn connect(&self) -> Result<Connection, Trouble> {
        // Whoever reads it reads what monitors said: nobody else's business.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.file)
            .map_err(|error| Trouble::Io {
                path: self.file.clone(),
                error,
            })?;
        let open = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&self.file, flags)?;
            connection.busy_timeout(BUSY)?;
            // A log beside the database: readers see the last commit and wait for nobody. FULL: a commit that returned
            // outlasts a loss of power.
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            connection.pragma_update(None, "temp_store", "memory")?;
            Ok(connection)
        };
        open().map_err(|error| self.sqlite(error))
    }
}

/// A connection that only reads.
///
/// # Errors
/// When the database can't be opened.
pub fn connect_for_reading(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}
