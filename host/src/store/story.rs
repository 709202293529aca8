//! What happened: the steps of each episode in order, and what belongs to none.

use super::keep::{Named, column, time};
use crate::domain::{
    event::{Event, Fact},
    health::{InterventionEnd, memory::Opened},
    host_news,
    job::Alert,
    saved::MonitorKey,
    time::Wall,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};

/// Steps of one episode; what comes after is counted in its row and not kept. A target that flaps for a year must not
/// fill the disk.
const STEPS_MAX: i64 = 1000;
/// The end of an episode is told even then.
const STEPS_WITH_END: i64 = STEPS_MAX + 1;

/// Which episode of a monitor is open.
#[derive(Debug, Default)]
pub struct Stories(HashMap<MonitorKey, i64>);

/// An episode's number as a row's.
#[must_use]
pub fn row_of(episode: u64) -> i64 {
    i64::from_ne_bytes(episode.to_ne_bytes())
}

/// A row's number as people and plugins know the episode.
#[must_use]
pub fn id_of(row: i64) -> String {
    format!("{:x}", u64::from_ne_bytes(row.to_ne_bytes()))
}

/// The row of an episode as people and plugins know it.
#[must_use]
pub fn row_of_id(id: &str) -> Option<i64> {
    u64::from_str_radix(id, 16).ok().map(row_of)
}

/// Whether that can be an incident's id.
#[must_use]
pub fn is_incident(id: &str) -> bool {
    row_of_id(id).is_some()
}

impl Stories {
    /// Those of a database.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement =
            connection.prepare("SELECT key, id FROM incident WHERE closed_at IS NULL ORDER BY id")?;
        let rows = statement.query_map([], |row| Ok((super::keep::key(row.get(0)?), row.get(1)?)))?;
        Ok(Self(rows.collect::<rusqlite::Result<_>>()?))
    }

    /// A monitor was put down as it is now. Its episode has a row from then on, whatever became of the fact that opened
    /// it; and one that it is not in any more has ended.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn settle(
        &mut self,
        transaction: &Transaction<'_>,
        monitor: &Named<'_>,
        at: Wall,
        opened: Option<Opened<'_>>,
    ) -> rusqlite::Result<()> {
        let now = opened.as_ref().map(|opened| row_of(opened.number));
        let before = self.0.get(&monitor.key).copied();
        if let Some(before) = before
            && Some(before) != now
        {
            // Nobody told how it ended.
            close(transaction, before, at, None)?;
            self.0.remove(&monitor.key);
        }
        if let (Some(opened), Some(now)) = (opened, now) {
            open(transaction, monitor, now, &opened)?;
            self.0.insert(monitor.key, now);
        }
        Ok(())
    }

    /// Something happened.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn take(
        &mut self,
        transaction: &Transaction<'_>,
        key: MonitorKey,
        event: &Event,
    ) -> rusqlite::Result<()> {
        let named = Named {
            key,
            tenant: &event.spec.tenant.name,
            name: event.spec.name(),
        };
        let at = event.at;
        let mut own = self.0.get(&key).copied();
        match &event.fact {
            Fact::Opened { incident } | Fact::Incident { incident, .. } => {
                if let Some(row) = row_of_id(&incident.id) {
                    let opened = Opened {
                        number: u64::from_ne_bytes(row.to_ne_bytes()),
                        opened_at: incident.opened_at,
                        incident_at: matches!(event.fact, Fact::Incident { .. }).then_some(at),
                        summary: &incident.summary,
                        reason: &incident.reason,
                    };
                    open(transaction, &named, row, &opened)?;
                    self.0.insert(key, row);
                    own = Some(row);
                }
            }
            Fact::Closed { id, lasted_ms } => {
                let Some(row) = row_of_id(id) else {
                    return Ok(());
                };
                if own == Some(row) {
                    self.0.remove(&key);
                }
                return close(transaction, row, at, Some(*lasted_ms));
            }
            Fact::Delivered { alert, .. }
            | Fact::Retrying { alert, .. }
            | Fact::Undeliverable { alert, .. } => {
                own = alert
                    .incident
                    .as_ref()
                    .and_then(|incident| row_of_id(&incident.id));
            }
            _ => {}
        }
        let Some((what, line, detail)) = words(&event.fact) else {
            return Ok(());
        };
        match own {
            Some(row) => step(transaction, row, at, STEPS_MAX, what, &line, detail.as_ref()),
            None => tell(transaction, &named, at, what, &line, detail.as_ref()),
        }
    }

    /// A monitor is gone.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn gone(&mut self, transaction: &Transaction<'_>, key: MonitorKey, at: Wall) -> rusqlite::Result<()> {
        self.0.remove(&key);
        end(
            transaction,
            key,
            at,
            "the monitor was removed from the configuration",
        )
    }
}

/// The episodes of a monitor that are open end, because nobody looks at it any more.
///
/// # Errors
/// What SQLite says.
pub fn end(transaction: &Transaction<'_>, key: MonitorKey, at: Wall, why: &str) -> rusqlite::Result<()> {
    let open: Vec<i64> = transaction
        .prepare_cached("SELECT id FROM incident WHERE key = ?1 AND closed_at IS NULL")?
        .query_map([column(key)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for row in open {
        step(transaction, row, at, STEPS_WITH_END, "removed", why, None)?;
        close_row(transaction, row, at)?;
    }
    Ok(())
}

fn open(
    transaction: &Transaction<'_>,
    monitor: &Named<'_>,
    row: i64,
    opened: &Opened<'_>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO incident (id, key, tenant, name, opened_at, incident_at, summary, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (id) DO UPDATE SET
                 incident_at = coalesce(incident_at, ?6), summary = ?7, reason = ?8, name = ?4",
        )?
        .execute(params![
            row,
            column(monitor.key),
            monitor.tenant,
            monitor.name,
            time(opened.opened_at),
            opened.incident_at.map(time),
            opened.summary,
            opened.reason
        ])?;
    Ok(())
}

fn close(transaction: &Transaction<'_>, row: i64, at: Wall, lasted_ms: Option<u64>) -> rusqlite::Result<()> {
    let line = match lasted_ms {
        Some(lasted) => format!("over after {:?}", Duration::from_millis(lasted)),
        None => "over; how it ended is not on record".to_owned(),
    };
    step(transaction, row, at, STEPS_WITH_END, "closed", &line, None)?;
    close_row(transaction, row, at)
}

fn close_row(transaction: &Transaction<'_>, row: i64, at: Wall) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE incident SET closed_at = ?2 WHERE id = ?1 AND closed_at IS NULL")?
        .execute(params![row, time(at)])?;
    Ok(())
}

fn step(
    transaction: &Transaction<'_>,
    row: i64,
    at: Wall,
    max: i64,
    what: &str,
    line: &str,
    detail: Option<&Value>,
) -> rusqlite::Result<()> {
    let number: Option<i64> = transaction
        .prepare_cached("UPDATE incident SET steps = steps + 1 WHERE id = ?1 RETURNING steps")?
        .query_row([row], |row| row.get(0))
        .optional()?;
    // Without a row it is of an episode that is too old to be kept.
    if let Some(number) = number
        && (number <= max || max == STEPS_WITH_END)
    {
        transaction
            .prepare_cached(
                "INSERT INTO step (incident, number, at, what, line, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                row,
                number,
                time(at),
                what,
                line,
                detail.map(Value::to_string)
            ])?;
    }
    Ok(())
}

/// Something that belongs to no episode.
///
/// # Errors
/// What SQLite says.
pub fn tell(
    transaction: &Transaction<'_>,
    monitor: &Named<'_>,
    at: Wall,
    what: &str,
    line: &str,
    detail: Option<&Value>,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO event (at, tenant, name, what, line, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            time(at),
            monitor.tenant,
            monitor.name,
            what,
            line,
            detail.map(Value::to_string)
        ])?;
    Ok(())
}

/// One word, one line for people, and what machines want to know beside. None: it is not put on record.
#[must_use]
pub fn words(fact: &Fact) -> Option<(&'static str, String, Option<Value>)> {
    Some(match fact {
        Fact::Opened { incident } => {
            let reason = (!incident.reason.is_empty()).then(|| json!({ "reason": incident.reason }));
            ("opened", incident.summary.clone(), reason)
        }
        Fact::Incident { incident, failures } => (
            "incident",
            format!("down, {failures} failures in a row: {}", incident.summary),
            None,
        ),
        Fact::Intervening { number, of, plugin } => (
            "intervening",
            format!("intervention {number} of {of} starts ({plugin})"),
            Some(json!({ "number": number, "of": of, "plugin": plugin })),
        ),
        Fact::Intervention { number, of, end } => {
            let (how, why) = match end {
                InterventionEnd::Done { summary } => ("done", summary),
                InterventionEnd::Retryable(why) => ("failed and may be tried again", why),
                InterventionEnd::Permanent(why) => ("failed for good", why),
                InterventionEnd::Unknown(why) => ("ended, nobody knows how", why),
                InterventionEnd::NotRun(why) => ("could not be started", why),
            };
            (
                "intervention",
                format!("intervention {number} of {of} {how}: {why}"),
                Some(json!({ "number": number, "of": of, "end": word(end) })),
            )
        }
        Fact::Held { why } => ("held", format!("intervention held back, {why}"), None),
        Fact::Exhausted(why) => ("exhausted", format!("no repair is left: {why}"), None),
        Fact::Purple { faults, message } => (
            "purple",
            format!("can't be checked, {faults} faults in a row: {message}"),
            None,
        ),
        Fact::Delivered { sink, alert, summary } => (
            "delivered",
            format!("{} was sent to {sink}: {summary}", alert.color),
            Some(code(sink, alert)),
        ),
        Fact::Retrying {
            sink,
            alert,
            message,
            in_ms,
        } => (
            "retrying",
            format!(
                "{} was not taken by {sink}, again in {:?}: {message}",
                alert.color,
                Duration::from_millis(*in_ms)
            ),
            Some(code(sink, alert)),
        ),
        Fact::Undeliverable { sink, alert, message } => (
            "undeliverable",
            format!(
                "{} can't be delivered to {sink} and is given up: {message}",
                alert.color
            ),
            Some(code(sink, alert)),
        ),
        Fact::Marked { mark, on, why } => {
            let line = host_news::marked(*mark, *on, why);
            (
                if *on { mark.name() } else { "unmarked" },
                line,
                Some(json!({ "mark": mark.name(), "on": on })),
            )
        }
        Fact::Lost { kind } => ("lost", format!("an execution never came back ({kind})"), None),
        Fact::Quarantined { .. }
        | Fact::Readmitted { .. }
        | Fact::RepairsPaused { .. }
        | Fact::RepairsResume { .. }
        | Fact::Unrecorded { .. }
        | Fact::RecordedAgain { .. } => {
            let (title, body) = host_news::of(fact)?;
            ("host", title, Some(json!({ "body": body })))
        }
        Fact::State { .. }
        | Fact::Fault { .. }
        | Fact::Withheld { .. }
        | Fact::Closed { .. }
        | Fact::Late { .. } => return None,
    })
}

fn word(end: &InterventionEnd) -> &'static str {
    match end {
        InterventionEnd::Done { .. } => "done",
        InterventionEnd::Retryable(_) => "retryable",
        InterventionEnd::Permanent(_) => "permanent",
        InterventionEnd::Unknown(_) => "effect-unknown",
        InterventionEnd::NotRun(_) => "not-run",
    }
}

fn code(sink: &str, alert: &Alert) -> Value {
    json!({
        "sink": sink,
        "color": alert.color,
        "title": alert.title,
        "reminder": alert.reminder,
        "delivery-id": alert.delivery_id(sink),
    })
}
