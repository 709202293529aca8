//! Monitors: put down, forgotten, and found again.

use super::story;
use crate::domain::{
    saved::{MonitorKey, Recalled, Saved},
    time::Wall,
};
use rusqlite::{Connection, Transaction, params};
use std::{collections::HashMap, sync::Arc};

/// SQLite's integers have a sign, keys have none: the same bits.
#[must_use]
pub fn column(key: MonitorKey) -> i64 {
    i64::from_ne_bytes(key.0.to_ne_bytes())
}

/// The key of a column.
#[must_use]
pub fn key(column: i64) -> MonitorKey {
    MonitorKey(u64::from_ne_bytes(column.to_ne_bytes()))
}

/// A point in time as SQLite has it.
#[must_use]
pub fn time(at: Wall) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// A monitor, by key.
pub struct Named<'a> {
    /// Which.
    pub key: MonitorKey,
    /// Its tenant's name.
    pub tenant: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Puts a monitor down in the place of what was there of it; nothing to remember: forgets it.
///
/// # Errors
/// What SQLite says.
pub fn put(
    transaction: &Transaction<'_>,
    monitor: &Named<'_>,
    at: Wall,
    saved: Option<&Saved>,
) -> rusqlite::Result<()> {
    let Some(saved) = saved else {
        return forget(transaction, monitor.key);
    };
    // Maps with other keys than strings are the only thing that could fail, and there are none.
    let saved = serde_json::to_string(saved)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction
        .prepare_cached(
            "INSERT INTO monitor (key, tenant, name, at, saved) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (key) DO UPDATE SET tenant = ?2, name = ?3, at = ?4, saved = ?5",
        )?
        .execute(params![
            column(monitor.key),
            monitor.tenant,
            monitor.name,
            time(at),
            saved
        ])?;
    Ok(())
}

/// Forgets a monitor.
///
/// # Errors
/// What SQLite says.
pub fn forget(transaction: &Transaction<'_>, key: MonitorKey) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM monitor WHERE key = ?1")?
        .execute([column(key)])?;
    Ok(())
}

/// Everything that was put down.
///
/// # Errors
/// What SQLite says, or that a row is not what any version wrote.
pub fn recall(connection: &Connection) -> rusqlite::Result<HashMap<MonitorKey, Recalled>> {
    let mut statement = connection.prepare("SELECT key, tenant, name, saved FROM monitor")?;
    let mut tenants: HashMap<String, Arc<str>> = HashMap::new();
    let mut known = HashMap::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let tenant: String = row.get(1)?;
        let name: String = row.get(2)?;
        let text: String = row.get(3)?;
        let saved: Saved = serde_json::from_str(&text).map_err(|error| {
            let what = format!("what was put down of {tenant}/{name}: {error}");
            rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, what.into())
        })?;
        let tenant = match tenants.get(&tenant) {
            Some(known) => Arc::clone(known),
            None => {
                let shared: Arc<str> = tenant.as_str().into();
                tenants.insert(tenant, Arc::clone(&shared));
                shared
            }
        };
        let recalled = Recalled {
            tenant,
            name: name.into(),
            saved,
        };
        known.insert(key(row.get(0)?), recalled);
    }
    Ok(known)
}

/// Puts monitors away that are in no configuration any more.
///
/// # Errors
/// What SQLite says.
pub fn bury(
    connection: &mut Connection,
    orphans: &[(MonitorKey, Recalled)],
    at: Wall,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (key, orphan) in orphans {
        let named = Named {
            key: *key,
            tenant: &orphan.tenant,
            name: &orphan.name,
        };
        for sink in &orphan.saved.sinks {
            for alert in sink.clone().into_codes() {
                let line = format!(
                    "{} was not delivered to {}: the monitor was removed while pulse-host was not running",
                    alert.color, sink.sink
                );
                story::tell(&transaction, &named, at, "undeliverable", &line, None)?;
            }
        }
        story::end(&transaction, *key, at, "the monitor was removed")?;
        forget(&transaction, *key)?;
    }
    transaction.commit()
}
