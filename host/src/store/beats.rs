//! Since when each heartbeat monitor has been silent.
//!
//! It is written by whoever gathers heartbeats, each second at most: what a crash loses of them may as well have come
//! while nobody listened, and is no silence either (see [`crate::domain::deadman`]).

use crate::domain::{
    deadman::{Kept, Unwritten},
    saved::MonitorKey,
    time::Wall,
};
use rusqlite::{Connection, TransactionBehavior, params};
use std::sync::{Mutex, PoisonError};

/// A connection of its own to the store.
#[derive(Debug)]
pub struct Beats(Mutex<Connection>);

impl Beats {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Mutex::new(connection))
    }

    /// All that are on record.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn all(&self) -> Result<Vec<Kept>, String> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || -> rusqlite::Result<_> {
            let mut select = connection.prepare("SELECT key, at, ever FROM beat")?;
            let rows = select.query_map([], |row| {
                let (key, at): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok(Kept {
                    key: MonitorKey(key.cast_unsigned()),
                    at: Wall(at.cast_unsigned()),
                    ever: row.get(2)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|error| error.to_string())
    }

    /// Puts these on record, all or none.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn put(&self, unwritten: &Unwritten) -> Result<(), String> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut write = || -> rusqlite::Result<()> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut put = transaction
                    .prepare_cached("INSERT OR REPLACE INTO beat (key, at, ever) VALUES (?1, ?2, ?3)")?;
                for Kept { key, at, ever } in &unwritten.kept {
                    put.execute(params![key.0.cast_signed(), at.0.cast_signed(), ever])?;
                }
                let mut remove = transaction.prepare_cached("DELETE FROM beat WHERE key = ?1")?;
                for key in &unwritten.gone {
                    remove.execute([key.0.cast_signed()])?;
                }
            }
            transaction.commit()
        };
        write().map_err(|error| error.to_string())
    }
}
