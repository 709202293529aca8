//! What is on record: incidents, events and checks over time, read beside the thread that writes them.

use super::{
    App,
    problem::Problem,
    reply::{json, query, when},
    tokens::Caller,
};
use crate::{
    domain::{
        saved::MonitorKey,
        time::{Wall, millis},
    },
    operate::directory::Directory,
    store::{EventRow, IncidentRow, Point, Reader, Span, StepRow, Wanted, is_incident},
};
use axum::{
    Extension,
    extract::{Path, State as Shared},
    http::{StatusCode, Uri},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Rows on a page, if nobody says how many.
const PAGE: usize = 100;
/// Rows on a page. The store gives one more, which tells whether there is another page.
const PAGE_MAX: usize = crate::store::ROWS_MAX - 1;
/// Points of one history: each is a look of its own.
const POINTS_MAX: u64 = 1000;
const HOUR_MS: u64 = 3_600_000;

/// Which incidents.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WantedIncidents {
    open: Option<bool>,
    tenant: Option<String>,
    monitor: Option<String>,
    limit: Option<usize>,
    before: Option<String>,
}

/// Which events.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WantedEvents {
    tenant: Option<String>,
    limit: Option<usize>,
    before: Option<i64>,
}

/// Which part of a history.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WantedHistory {
    span: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

fn page(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(PAGE);
    match (1..=PAGE_MAX).contains(&limit) {
        true => Ok(limit),
        false => Err(Problem::bad(format!("limit: 1 to {PAGE_MAX}"))),
    }
}

/// Takes the row off that only tells of another page. True: there is one.
fn cut<T>(rows: &mut Vec<T>, limit: usize) -> bool {
    let more = rows.len() > limit;
    rows.truncate(limit);
    more
}

/// `GET /api/v1/incidents`.
pub async fn incidents(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let asked: WantedIncidents = query(&uri)?;
    let limit = page(asked.limit)?;
    let mut scope = caller.scope(asked.tenant.as_deref())?;
    let key = match asked.monitor.as_deref() {
        None => None,
        Some(monitor) => {
            let (tenant, name) = monitor
                .split_once('/')
                .ok_or_else(|| Problem::bad("monitor: TENANT/NAME; the operator's own are default/NAME"))?;
            if scope.as_deref().is_some_and(|scope| scope != tenant) {
                return Err(Problem::absent(format!("there is no monitor {monitor}")));
            }
            // A database may hold what another monitor of the same key had: the tenant is part of the question anyway.
            scope = Some(Arc::from(tenant));
            Some(key_of(&app.directory.present(), tenant, name))
        }
    };
    if asked.before.as_deref().is_some_and(|before| !is_incident(before)) {
        return Err(Problem::bad(
            "before: the id of an incident, as `next` of the page before has it",
        ));
    }
    let wanted = Wanted {
        tenant: scope.as_deref().map(str::to_owned),
        key,
        open: asked.open,
        before: asked.before,
        limit: limit + 1,
    };
    let mut rows = app.on_record(move |reader| reader.incidents(&wanted)).await?;
    let more = cut(&mut rows, limit);
    let next = rows.last().filter(|_| more).map(|row| row.id.as_str());
    Ok(json(&json!({
        "incidents": rows.iter().map(incident).collect::<Vec<_>>(),
        "next": next,
    })))
}

/// `GET /api/v1/incidents/{id}`.
pub async fn one(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let absent = Problem::absent(format!(
        "there is no incident {id}; perhaps it is older than incidents are kept"
    ));
    let found = app.on_record(move |reader| reader.incident(&id)).await?;
    let Some((row, steps)) = found.filter(|(row, _)| caller.may_see(&row.tenant)) else {
        return Err(absent);
    };
    let mut body = incident(&row);
    if let Value::Object(body) = &mut body {
        body.insert("timeline".to_owned(), steps.iter().map(step).collect());
    }
    Ok(json(&body))
}

/// `GET /api/v1/events`.
pub async fn events(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let asked: WantedEvents = query(&uri)?;
    let limit = page(asked.limit)?;
    let scope = caller.scope(asked.tenant.as_deref())?;
    let mut rows = app
        .on_record(move |reader| reader.events(scope.as_deref(), asked.before, limit + 1))
        .await?;
    let more = cut(&mut rows, limit);
    let next = rows.last().filter(|_| more).map(|row| row.id);
    Ok(json(&json!({
        "events": rows.iter().map(event).collect::<Vec<_>>(),
        "next": next,
    })))
}

/// `GET /api/v1/monitors/{tenant}/{name}/history`.
pub async fn history(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path((tenant, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let asked: WantedHistory = query(&uri)?;
    let row = super::monitors::named(&app.directory.present(), &caller, &tenant, &name)?;
    let span = match asked.span.as_deref() {
        None => Span::Fine,
        Some(name) => Span::from_name(name).ok_or_else(|| {
            let names = Span::ALL.map(Span::name).join(", ");
            Problem::bad(format!("span: one of {names}"))
        })?,
    };
    let to = match asked.to.as_deref() {
        None => app.clock.wall(),
        Some(text) => point("to", text)?,
    };
    let from = match asked.from.as_deref() {
        None => Wall(to.0.saturating_sub(usual(span))),
        Some(text) => point("from", text)?,
    };
    if from > to {
        return Err(Problem::bad("from: it lies behind `to`"));
    }
    let points = (to.0 - span.begin(from).0).div_ceil(millis(span.length()).max(1));
    if points > POINTS_MAX {
        return Err(Problem::bad(format!(
            "from: that would be {points} points, and {POINTS_MAX} are the most; ask for less time or a longer span"
        )));
    }
    let key = MonitorKey::of(&row.spec);
    let points = app
        .on_record(move |reader| reader.history(key, span, from, to))
        .await?;
    Ok(json(&json!({
        "span": span.name(),
        "points": points.iter().map(sum).collect::<Vec<_>>(),
    })))
}

/// How far back a history reaches if nobody says so, in milliseconds.
fn usual(span: Span) -> u64 {
    match span {
        Span::Fine => 24 * HOUR_MS,
        Span::Hour => 30 * 24 * HOUR_MS,
        Span::Day => 365 * 24 * HOUR_MS,
    }
}

/// A time of RFC 3339.
fn point(key: &str, text: &str) -> Result<Wall, Problem> {
    let at: Result<jiff::Timestamp, _> = text.parse();
    at.ok()
        .and_then(|at| u64::try_from(at.as_millisecond()).ok())
        .map(Wall)
        .ok_or_else(|| {
            Problem::bad(format!(
                "{key}: a time since 1970 as RFC 3339 has it, such as 2026-01-31T12:00:00Z"
            ))
        })
}

/// What tells a monitor from others on record: of one that is configured what its configuration says, of one that is gone
/// its name.
fn key_of(directory: &Directory, tenant: &str, name: &str) -> MonitorKey {
    match directory.named(tenant, name) {
        Some(row) => MonitorKey::of(&row.spec),
        None => MonitorKey::named(tenant, name),
    }
}

fn incident(row: &IncidentRow) -> Value {
    json!({
        "id": row.id,
        "tenant": row.tenant,
        "monitor": row.monitor,
        "opened_at": when(row.opened_at.0),
        "incident_at": row.incident_at.map(|at| when(at.0)),
        "closed_at": row.closed_at.map(|at| when(at.0)),
        "summary": row.summary,
        "reason": row.reason,
        "steps": row.steps,
    })
}

fn step(step: &StepRow) -> Value {
    json!({
        "at": when(step.at.0),
        "what": step.what,
        "line": step.line,
        "detail": detail(step),
    })
}

fn event(row: &EventRow) -> Value {
    json!({
        "id": row.id,
        "at": when(row.step.at.0),
        "tenant": row.tenant,
        "monitor": row.monitor,
        "what": row.step.what,
        "line": row.step.line,
        "detail": detail(&row.step),
    })
}

fn detail(step: &StepRow) -> Option<Value> {
    step.detail
        .as_deref()
        .and_then(|detail| serde_json::from_str(detail).ok())
}

fn sum(point: &Point) -> Value {
    json!({
        "at": when(point.at.0),
        "runs": point.runs,
        "failures": point.failures,
        "faults": point.faults,
        "min_us": point.min_us,
        "mean_us": point.sum_us.checked_div(point.runs).unwrap_or_default(),
        "max_us": point.max_us,
        "p50_us": point.percentiles.map(|[p50, ..]| p50),
        "p95_us": point.percentiles.map(|[_, p95, _]| p95),
        "p99_us": point.percentiles.map(|[.., p99]| p99),
    })
}

impl App {
    /// Reads from the store where nobody else has to wait for it.
    ///
    /// # Errors
    /// When there is none, it can't be read, or too many read already.
    pub async fn on_record<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let unavailable = |detail: String| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no-record",
                "What is on record can't be read",
                detail,
            )
        };
        let Some(reader) = self.records.clone() else {
            return Err(unavailable(
                "nothing is kept: `enabled` in [host.store] is false".to_owned(),
            ));
        };
        let acquired = Arc::clone(&self.reads).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(self.settings.timeout / 2, acquired).await else {
            return Err(Problem::busy("too much is read from the store at the same time"));
        };
        tokio::task::spawn_blocking(move || {
            let found = read(&reader);
            drop(permit);
            found
        })
        .await
        .map_err(|_| Problem::internal("the store could not be read"))?
        .map_err(|error| unavailable(format!("{error}; `pulse-host store check` says more")))
    }
}
