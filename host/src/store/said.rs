//! What operators say of monitors, and what must outlast a restart with it.
//!
//! It is written by whoever hears it and on disk before he answers: that is rare, and no thread of the scheduler waits
//! for it.

use crate::domain::order::Order;
use rusqlite::{Connection, params};
use std::sync::{Mutex, PoisonError};

/// A connection of its own to the store.
#[derive(Debug)]
pub struct Said(Mutex<Connection>);

impl Said {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Mutex::new(connection))
    }

    fn with<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        act(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).map_err(|error| error.to_string())
    }

    /// All that is on record, and how many are there that this version can't read.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn all(&self) -> Result<(Vec<Order>, usize), String> {
        let bodies: Vec<String> = self.with(|connection| {
            connection
                .prepare_cached("SELECT body FROM said ORDER BY id")?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        let count = bodies.len();
        let orders: Vec<Order> = bodies
            .iter()
            .filter_map(|body| serde_json::from_str(body).ok())
            .collect();
        let unread = count - orders.len();
        Ok((orders, unread))
    }

    /// Puts one on record, or another in its place.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn put(&self, order: &Order) -> Result<(), String> {
        let body = serde_json::to_string(order).map_err(|error| error.to_string())?;
        self.with(|connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO said (id, body) VALUES (?1, ?2)")?
                .execute(params![&*order.id, body])?;
            Ok(())
        })
    }

    /// It is over.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn remove(&self, id: &str) -> Result<(), String> {
        self.with(|connection| {
            connection
                .prepare_cached("DELETE FROM said WHERE id = ?1")?
                .execute([id])?;
            Ok(())
        })
    }
}
