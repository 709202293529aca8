//! Monitors that were given over the API: on disk before anybody is told that they are taken.
//!
//! What is written at once is written whole or not at all, by whoever reloads; no thread of the scheduler waits for it.

use super::{
    DATABASE, Trouble,
    keep::{Named, time},
    place::connect_for_reading,
    schema, story,
};
use crate::domain::{
    managed::{Aside, Document, Documents},
    saved::MonitorKey,
    time::Wall,
};
use rusqlite::{Connection, params};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// The schema that has them first.
const SCHEMA: u32 = 3;

/// What becomes of one document.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose.
    pub tenant: Arc<str>,
    /// The monitor's name.
    pub name: Arc<str>,
    /// None: it is taken away.
    pub document: Option<Arc<Document>>,
}

/// A connection of its own to the store.
#[derive(Debug)]
pub struct Managed(Mutex<Connection>);

impl Managed {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Mutex::new(connection))
    }

    /// All that are on record in a data directory, which a host may be using.
    ///
    /// # Errors
    /// When there is a database that can't be read.
    pub fn read(data_dir: &Path) -> Result<Documents, Trouble> {
        let file = data_dir.join(DATABASE);
        if !file.exists() {
            return Ok(Documents::default());
        }
        let read = || {
            let connection = connect_for_reading(&file)?;
            // A later version's is refused where it is opened to be written.
            if schema::version(&connection)? < SCHEMA {
                return Ok(Documents::default());
            }
            all(&connection)
        };
        read().map_err(|error| Trouble::Sqlite {
            file: file.clone(),
            error,
        })
    }

    /// Puts all of that on record, or none of it. Returns when it is on disk.
    ///
    /// # Errors
    /// What SQLite says; nothing has changed then.
    pub fn write(&self, changes: &[Change]) -> Result<(), String> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut write = || {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            {
                let mut put = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO managed (tenant, name, document, at, by) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?;
                let mut remove =
                    transaction.prepare_cached("DELETE FROM managed WHERE tenant = ?1 AND name = ?2")?;
                for change in changes {
                    match &change.document {
                        Some(document) => put.execute(params![
                            &*change.tenant,
                            &*change.name,
                            &*document.text,
                            time(document.at),
                            &*document.by
                        ])?,
                        None => remove.execute(params![&*change.tenant, &*change.name])?,
                    };
                }
            }
            transaction.commit()
        };
        write().map_err(|error: rusqlite::Error| error.to_string())
    }

    /// Puts on record that these are not in effect, as events of their monitors.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn tell_aside(&self, aside: &[Aside], at: Wall) -> Result<(), String> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut write = || {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            for one in aside {
                let named = Named {
                    key: MonitorKey::named(&one.tenant, &one.name),
                    tenant: &one.tenant,
                    name: &one.name,
                };
                let line = format!("the monitor that was put over the API was set aside: {}", one.why);
                story::tell(&transaction, &named, at, "set-aside", &line, None)?;
            }
            transaction.commit()
        };
        write().map_err(|error: rusqlite::Error| error.to_string())
    }
}

fn all(connection: &Connection) -> rusqlite::Result<Documents> {
    let mut documents = Documents::default();
    let mut statement = connection.prepare("SELECT tenant, name, document, at, by FROM managed")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = |column: usize| row.get::<_, String>(column);
        let document = Document {
            text: text(2)?.into(),
            at: Wall(u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0)),
            by: text(4)?.into(),
        };
        documents.put(&text(0)?.into(), &text(1)?.into(), Arc::new(document));
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, domain::host::HostSettings, store::Store};

    fn change(name: &str, text: Option<&str>) -> Change {
        Change {
            tenant: "acme".into(),
            name: name.into(),
            document: text.map(|text| {
                Arc::new(Document {
                    text: text.into(),
                    at: Wall(7),
                    by: "deploy".into(),
                })
            }),
        }
    }

    #[test]
    fn what_was_written_is_read_by_the_next_host_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            Managed::read(dir.path()).unwrap().is_empty(),
            "there is no database"
        );
        let settings = HostSettings::new(dir.path().to_owned()).store;
        let store = Store::open(dir.path(), settings, Clock::system()).unwrap();
        let managed = store.managed().unwrap();
        managed
            .write(&[change("shop", Some("{}")), change("mail", Some("{ }"))])
            .unwrap();
        managed
            .write(&[change("mail", None), change("shop", Some("{\"a\":1}"))])
            .unwrap();
        let read = Managed::read(dir.path()).unwrap();
        assert_eq!(read.len(), 1);
        let shop = read.get("acme", "shop").unwrap();
        assert_eq!(
            (&*shop.text, shop.at, &*shop.by),
            ("{\"a\":1}", Wall(7), "deploy")
        );
    }

    #[test]
    fn all_of_it_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let settings = HostSettings::new(dir.path().to_owned()).store;
        let store = Store::open(dir.path(), settings, Clock::system()).unwrap();
        let managed = store.managed().unwrap();
        managed.write(&[change("shop", Some("{}"))]).unwrap();
        {
            let connection = managed.0.lock().unwrap();
            connection
                .execute_batch(
                    "CREATE TRIGGER full BEFORE INSERT ON managed WHEN NEW.name = 'mail'
                     BEGIN SELECT RAISE(FAIL, 'no room'); END",
                )
                .unwrap();
        }
        let wrong = managed
            .write(&[
                change("shop", None),
                change("other", Some("{}")),
                change("mail", Some("{}")),
            ])
            .unwrap_err();
        assert!(wrong.contains("no room"), "{wrong}");
        let read = Managed::read(dir.path()).unwrap();
        assert_eq!(
            read.iter().map(|(_, name, _)| &**name).collect::<Vec<_>>(),
            ["shop"]
        );
    }
}
