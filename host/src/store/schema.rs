//! The tables, and how an older database becomes a present one.
//!
//! Each step of [`STEPS`] leads from one schema to the next and never changes again once it was released; the number of
//! steps that a database has taken is its `user_version`.

use super::Trouble;
use rusqlite::Connection;
use std::path::Path;

/// From nothing to the present schema.
const STEPS: &[&str] = &["
    -- Monitors that must be remembered: those in trouble, and those whose budget is used. `saved` is JSON.
    CREATE TABLE monitor (
        key INTEGER PRIMARY KEY,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        at INTEGER NOT NULL,
        saved TEXT NOT NULL
    ) STRICT;

    -- Episodes, from the first bad report to the end; `incident_at`: when the threshold was reached, if it was.
    CREATE TABLE incident (
        id INTEGER PRIMARY KEY,
        key INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        opened_at INTEGER NOT NULL,
        incident_at INTEGER,
        closed_at INTEGER,
        summary TEXT NOT NULL,
        reason TEXT NOT NULL,
        steps INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX incident_of_monitor ON incident (key, opened_at);
    CREATE INDEX incident_by_time ON incident (opened_at);
    CREATE INDEX incident_open ON incident (opened_at) WHERE closed_at IS NULL;

    -- What happened in an episode, in order. `detail` is JSON.
    CREATE TABLE step (
        incident INTEGER NOT NULL,
        number INTEGER NOT NULL,
        at INTEGER NOT NULL,
        what TEXT NOT NULL,
        line TEXT NOT NULL,
        detail TEXT,
        PRIMARY KEY (incident, number)
    ) STRICT, WITHOUT ROWID;

    -- What happened to the host itself, and to monitors outside of any episode.
    CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        what TEXT NOT NULL,
        line TEXT NOT NULL,
        detail TEXT
    ) STRICT;
    CREATE INDEX event_by_time ON event (at);

    -- Checks, summed up by monitor and span of time. In the order of time: what is written together lies together.
    CREATE TABLE history (
        span INTEGER NOT NULL,
        bucket INTEGER NOT NULL,
        key INTEGER NOT NULL,
        runs INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        faults INTEGER NOT NULL,
        min_us INTEGER NOT NULL,
        sum_us INTEGER NOT NULL,
        max_us INTEGER NOT NULL,
        PRIMARY KEY (span, bucket, key)
    ) STRICT, WITHOUT ROWID;
", "
    -- What operators say of monitors until it is over. `body` is JSON.
    CREATE TABLE said (
        id TEXT PRIMARY KEY,
        body TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
", "
    -- Since when each heartbeat monitor has been silent; `ever`: it was heard then, or else it was never heard.
    CREATE TABLE beat (
        key INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        ever INTEGER NOT NULL
    ) STRICT;
", "
    -- How long checks took, of monitors that are to be known better: see domain/sketch.rs.
    CREATE TABLE quantile (
        span INTEGER NOT NULL,
        bucket INTEGER NOT NULL,
        key INTEGER NOT NULL,
        sketch BLOB NOT NULL,
        PRIMARY KEY (span, bucket, key)
    ) STRICT, WITHOUT ROWID;

    -- A tenant sees his own only, and may be one of many.
    CREATE INDEX incident_of_tenant ON incident (tenant, opened_at);
    CREATE INDEX event_of_tenant ON event (tenant, at);
", "
    -- Monitors that were given over the API. `document` is JSON, as it came; `by` is the name of a token.
    CREATE TABLE managed (
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        document TEXT NOT NULL,
        at INTEGER NOT NULL,
        by TEXT NOT NULL,
        PRIMARY KEY (tenant, name)
    ) STRICT;
"];

/// The present schema's number.
pub const PRESENT: u32 = STEPS.len() as u32;

/// Why a database can't be made a present one.
#[derive(Debug)]
pub enum Wrong {
    /// It is of a later version.
    Later(u32),
    /// What SQLite says.
    Sqlite(rusqlite::Error),
}

impl Wrong {
    /// The same, about that file.
    #[must_use]
    pub fn of(self, file: &Path) -> Trouble {
        let file = file.to_owned();
        match self {
            Self::Later(found) => Trouble::Later {
                file,
                found,
                known: PRESENT,
            },
            Self::Sqlite(error) => Trouble::Sqlite { file, error },
        }
    }
}

impl From<rusqlite::Error> for Wrong {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The schema of a database.
///
/// # Errors
/// When it can't be read.
pub fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes an older database a present one, step by step; each step is whole or not there.
///
/// # Errors
/// When it is of a later version, or can't be written.
pub fn migrate(connection: &Connection) -> Result<(), Wrong> {
    let found = version(connection)?;
    if found > PRESENT {
        return Err(Wrong::Later(found));
    }
    for (number, step) in (1u32..).zip(STEPS).skip(found as usize) {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {step}; PRAGMA user_version = {number}; COMMIT"
        ))?;
    }
    Ok(())
}
