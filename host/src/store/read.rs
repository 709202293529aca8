//! Reading what is on record, beside the thread that writes.

use super::{
    history::{self, Point, Span},
    keep::{column, time},
    place::connect_for_reading,
    story,
};
use crate::domain::{saved::MonitorKey, time::Wall};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// Connections that are kept for the next who reads.
const IDLE_MAX: usize = 4;
/// Rows of one answer: a page of a thousand, and one that tells whether there is another.
pub const ROWS_MAX: usize = 1001;

/// Reads from a store. Cheap to clone; blocks while it reads.
#[derive(Clone, Debug)]
pub struct Reader {
    file: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// An episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentRow {
    /// As plugins know it.
    pub id: String,
    /// Whose.
    pub tenant: String,
    /// The monitor's name at that time.
    pub monitor: String,
    /// The first bad report.
    pub opened_at: Wall,
    /// The threshold was reached; none: it was not.
    pub incident_at: Option<Wall>,
    /// It ended; none: it is open.
    pub closed_at: Option<Wall>,
    /// The last bad report's line.
    pub summary: String,
    /// The last bad report's reason; empty: it gave none.
    pub reason: String,
    /// What happened in it, kept or not.
    pub steps: u64,
}

/// Something that happened in an episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// When.
    pub at: Wall,
    /// In one word.
    pub what: String,
    /// In one line.
    pub line: String,
    /// JSON.
    pub detail: Option<String>,
}

/// Something that happened to the host, or to a monitor outside of any episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its number; later ones are greater.
    pub id: i64,
    /// Whose.
    pub tenant: String,
    /// The monitor's name, or the host's entry's.
    pub monitor: String,
    /// What.
    pub step: StepRow,
}

/// Which episodes.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of that tenant only.
    pub tenant: Option<String>,
    /// Of that monitor only.
    pub key: Option<MonitorKey>,
    /// Those that are open, or those that are over.
    pub open: Option<bool>,
    /// Those before that one, by the time of their opening: where the last answer ended.
    pub before: Option<String>,
    /// At most so many.
    pub limit: usize,
}

impl Reader {
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file,
            idle: Arc::default(),
        }
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connect_for_reading(&self.file)?,
        };
        let answer = read(&connection)?;
        let mut idle = idle();
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(answer)
    }

    /// Episodes, the last first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn incidents(&self, wanted: &Wanted) -> rusqlite::Result<Vec<IncidentRow>> {
        // Numbers of episodes grow with time.
        let before = wanted
            .before
            .as_deref()
            .and_then(story::row_of_id)
            .unwrap_or(i64::MAX);
        let limit = i64::try_from(wanted.limit.min(ROWS_MAX)).unwrap_or(0);
        // What is open, or a monitor's, is a small part of all: without being told, SQLite would look at every row.
        let (table, key) = match (wanted.key.is_some(), wanted.open) {
            (true, _) => ("incident INDEXED BY incident_of_monitor", "key = ?3"),
            (false, Some(true)) => ("incident INDEXED BY incident_open", "?3 IS NULL"),
            (false, _) => ("incident", "?3 IS NULL"),
        };
        let open = match wanted.open {
            None => "",
            Some(true) => "AND closed_at IS NULL",
            Some(false) => "AND closed_at IS NOT NULL",
        };
        let query = format!(
            "SELECT id, tenant, name, opened_at, incident_at, closed_at, summary, reason, steps FROM {table}
             WHERE id < ?1 AND (?2 IS NULL OR tenant = ?2) AND {key} {open}
             ORDER BY id DESC LIMIT ?4"
        );
        self.with(|connection| {
            connection
                .prepare_cached(&query)?
                .query_map(
                    params![before, wanted.tenant, wanted.key.map(column), limit],
                    incident,
                )?
                .collect()
        })
    }

    /// One episode and what happened in it, in order.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn incident(&self, id: &str) -> rusqlite::Result<Option<(IncidentRow, Vec<StepRow>)>> {
        let Some(row) = story::row_of_id(id) else {
            return Ok(None);
        };
        self.with(|connection| {
            let found = connection
                .prepare_cached(
                    "SELECT id, tenant, name, opened_at, incident_at, closed_at, summary, reason, steps FROM incident
                     WHERE id = ?1",
                )?
                .query_row([row], incident)
                .optional()?;
            let Some(found) = found else {
                return Ok(None);
            };
            let steps = connection
                .prepare_cached("SELECT at, what, line, detail FROM step WHERE incident = ?1 ORDER BY number")?
                .query_map([row], |row| step(row, 0))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Some((found, steps)))
        })
    }

    /// The log of events, the last first: those before that number, of that tenant.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn events(
        &self,
        tenant: Option<&str>,
        before: Option<i64>,
        limit: usize,
    ) -> rusqlite::Result<Vec<EventRow>> {
        let limit = i64::try_from(limit.min(ROWS_MAX)).unwrap_or(0);
        self.with(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, tenant, name, at, what, line, detail FROM event
                     WHERE id < ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY id DESC LIMIT ?3",
                )?
                .query_map(params![before.unwrap_or(i64::MAX), tenant, limit], |row| {
                    Ok(EventRow {
                        id: row.get(0)?,
                        tenant: row.get(1)?,
                        monitor: row.get(2)?,
                        step: step(row, 3)?,
                    })
                })?
                .collect()
        })
    }

    /// A monitor's checks from one point in time up to another, by span; the earliest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn history(&self, key: MonitorKey, span: Span, from: Wall, to: Wall) -> rusqlite::Result<Vec<Point>> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT runs, failures, faults, min_us, sum_us, max_us, sketch
                 FROM history LEFT JOIN quantile USING (span, bucket, key)
                 WHERE span = ?1 AND bucket = ?2 AND key = ?3",
            )?;
            let step = crate::domain::time::millis(span.length()).max(1);
            let mut points = Vec::new();
            let mut at = span.begin(from);
            // One look for each span: rows of one monitor don't lie together.
            while at < to && points.len() < ROWS_MAX {
                let found = statement
                    .query_row(params![span.column(), time(at), column(key)], |row| {
                        let count = |index| {
                            row.get::<_, i64>(index)
                                .map(|count| u64::try_from(count).unwrap_or(0))
                        };
                        Ok(Point {
                            at,
                            runs: count(0)?,
                            failures: count(1)?,
                            faults: count(2)?,
                            min_us: count(3)?,
                            sum_us: count(4)?,
                            max_us: count(5)?,
                            percentiles: row
                                .get::<_, Option<Vec<u8>>>(6)?
                                .and_then(|sketch| history::percentiles(&sketch)),
                        })
                    })
                    .optional()?;
                points.extend(found);
                at = Wall(at.0 + step);
            }
            Ok(points)
        })
    }
}

fn wall(row: &Row<'_>, index: usize) -> rusqlite::Result<Wall> {
    Ok(Wall(u64::try_from(row.get::<_, i64>(index)?).unwrap_or(0)))
}

fn maybe_wall(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Wall>> {
    let at: Option<i64> = row.get(index)?;
    Ok(at.map(|at| Wall(u64::try_from(at).unwrap_or(0))))
}

fn incident(row: &Row<'_>) -> rusqlite::Result<IncidentRow> {
    Ok(IncidentRow {
        id: story::id_of(row.get(0)?),
        tenant: row.get(1)?,
        monitor: row.get(2)?,
        opened_at: wall(row, 3)?,
        incident_at: maybe_wall(row, 4)?,
        closed_at: maybe_wall(row, 5)?,
        summary: row.get(6)?,
        reason: row.get(7)?,
        steps: u64::try_from(row.get::<_, i64>(8)?).unwrap_or(0),
    })
}

fn step(row: &Row<'_>, first: usize) -> rusqlite::Result<StepRow> {
    Ok(StepRow {
        at: wall(row, first)?,
        what: row.get(first + 1)?,
        line: row.get(first + 2)?,
        detail: row.get(first + 3)?,
    })
}
