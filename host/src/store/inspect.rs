//! Looking at a store, and copying it, whether a host runs on it or not.

use super::{
    DATABASE, Trouble,
    place::connect_for_reading,
    read::Reader,
    schema::{self, PRESENT},
};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// What SQLite finds wrong is said up to so many lines.
const WRONG_MAX: u32 = 20;

/// What is in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The database.
    pub file: PathBuf,
    /// Its schema; [`PRESENT`] is this version's.
    pub schema: u32,
    /// What is wrong with it; empty: nothing.
    pub wrong: Vec<String>,
    /// Monitors in trouble.
    pub monitors: u64,
    /// Episodes that are open.
    pub open: u64,
    /// All episodes.
    pub incidents: u64,
    /// Events beside them.
    pub events: u64,
    /// Rows of sums of checks.
    pub history: u64,
    /// Heartbeat monitors that were heard.
    pub heartbeats: u64,
}

impl Found {
    /// Whether this version can go on with it, as it is or after an upgrade.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.wrong.is_empty() && self.schema <= PRESENT
    }
}

/// A store that is looked at.
pub struct Inspected {
    connection: Connection,
    file: PathBuf,
}

impl Inspected {
    /// That of a data directory.
    ///
    /// # Errors
    /// When there is none, or it can't be read.
    pub fn open(data_dir: &Path) -> Result<Self, Trouble> {
        let file = data_dir.join(DATABASE);
        if let Err(error) = std::fs::metadata(&file) {
            return Err(Trouble::Io { path: file, error });
        }
        match connect_for_reading(&file) {
            Ok(connection) => Ok(Self { connection, file }),
            Err(error) => Err(Trouble::Sqlite { file, error }),
        }
    }

    /// Reads all of it. Takes as long as that takes.
    ///
    /// # Errors
    /// When it can't be read at all.
    pub fn check(&self) -> Result<Found, Trouble> {
        self.look().map_err(|error| Trouble::Sqlite {
            file: self.file.clone(),
            error,
        })
    }

    fn look(&self) -> rusqlite::Result<Found> {
        let mut wrong: Vec<String> = self
            .connection
            .prepare(&format!("PRAGMA integrity_check({WRONG_MAX})"))?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        wrong.retain(|line| line != "ok");
        let schema = schema::version(&self.connection)?;
        let count_since = |since: u32, what: &str| {
            if schema < since {
                return Ok(0);
            }
            let rows: i64 =
                self.connection
                    .query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0))?;
            Ok::<_, rusqlite::Error>(u64::try_from(rows).unwrap_or(0))
        };
        let count = |what: &str| count_since(1, what);
        Ok(Found {
            file: self.file.clone(),
            schema,
            wrong,
            monitors: count("monitor")?,
            open: count("incident WHERE closed_at IS NULL")?,
            incidents: count("incident")?,
            events: count("event")?,
            history: count("history")?,
            heartbeats: count_since(3, "beat WHERE ever")?,
        })
    }

    /// Copies it to a file that is not there yet: as it is at one moment, whatever is written meanwhile.
    ///
    /// # Errors
    /// When the file is there, or the copy can't be made.
    pub fn backup(&self, to: &Path) -> Result<(), Trouble> {
        // SQLite would take an empty file for a place to write to; nothing of anybody's is overwritten here.
        if to.exists() {
            let error = std::io::Error::new(
                std::io::ErrorKind::AlreadyExists,
                "it is there already; a backup is a new file",
            );
            return Err(Trouble::Io {
                path: to.to_owned(),
                error,
            });
        }
        self.connection
            .execute("VACUUM INTO ?1", [to.to_string_lossy()])
            .map_err(|error| Trouble::Sqlite {
                file: to.to_owned(),
                error,
            })?;
        private(to).map_err(|error| Trouble::Io {
            path: to.to_owned(),
            error,
        })
    }

    /// Whoever reads episodes from it.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.file.clone())
    }
}

/// For its own user only, as the original is.
fn private(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))
}
