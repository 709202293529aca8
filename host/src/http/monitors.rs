//! Monitors: lists, one in detail, and counts by label.

use super::{
    App, deadman, managed,
    problem::Problem,
    reply::{json, query, when},
    tokens::Caller,
};
use crate::{
    cases::secrets,
    domain::{
        board::{Board, Mark, Marks, Standing},
        deadman::{FACTS, is_watched},
        health::State,
        secret::{CLOSE, OPEN},
        selector::Selector,
        spec::{Kind, MonitorSpec},
    },
    operate::{
        directory::{Directory, Row},
        list::{self, Cursor, Order, Query},
    },
    scheduler::{
        Run,
        components::Phase,
        view::{Detail, LaneDetail},
    },
};
use axum::{
    Extension,
    extract::{Path, State as Shared},
    http::Uri,
    response::Response,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Monitors on a page, if nobody says how many.
const PAGE: usize = 100;
/// Bytes of a search.
const SEARCH_BYTES_MAX: usize = 256;

/// What a list may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    tenant: Option<String>,
    selector: Option<String>,
    search: Option<String>,
    state: Option<String>,
    mark: Option<String>,
    sort: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    /// Of a summary: the label.
    by: Option<String>,
}

impl Wanted {
    /// What that means to this caller.
    fn understood(&self, caller: &Caller) -> Result<Query, Problem> {
        let order = match self.sort.as_deref() {
            None => Order::default(),
            Some(name) => one_of("sort", name, Order::ALL, Order::name)?,
        };
        let selector: Selector = self
            .selector
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(|wrong| Problem::bad(format!("selector: {wrong}")))?;
        let search = self.search.clone().unwrap_or_default();
        if search.len() > SEARCH_BYTES_MAX {
            return Err(Problem::bad(format!("search: at most {SEARCH_BYTES_MAX} bytes")));
        }
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=list::PAGE_MAX).contains(&limit) {
            return Err(Problem::bad(format!("limit: 1 to {}", list::PAGE_MAX)));
        }
        let cursor = match &self.cursor {
            None => None,
            Some(text) => Some(Cursor::parse(text, order).ok_or_else(|| {
                Problem::bad("cursor: none of this order; take `next` of the page before as it is")
            })?),
        };
        Ok(Query {
            tenant: caller.scope(self.tenant.as_deref())?,
            selector,
            search,
            states: several("state", self.state.as_deref(), State::ALL, State::name)?,
            marks: several("mark", self.mark.as_deref(), Mark::ALL, Mark::name)?,
            order,
            limit,
            cursor,
        })
    }
}

fn one_of<T: Copy, const N: usize>(
    key: &str,
    text: &str,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Result<T, Problem> {
    all.into_iter().find(|one| name(*one) == text).ok_or_else(|| {
        let names = all.map(name).join(", ");
        Problem::bad(format!("{key}: one of {names}"))
    })
}

/// Several, with commas between.
fn several<T: Copy, const N: usize>(
    key: &str,
    text: Option<&str>,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> Result<Vec<T>, Problem> {
    text.into_iter()
        .flat_map(|text| text.split(','))
        .map(|text| one_of(key, text.trim(), all, name))
        .collect()
}

/// `GET /api/v1/monitors`.
pub async fn index(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let wanted: Wanted = query(&uri)?;
    if wanted.by.is_some() {
        return Err(Problem::bad("by: only a summary has it"));
    }
    let query = wanted.understood(&caller)?;
    let body = app
        .search(move |directory, board| {
            let page = list::list(directory, board, &query);
            let monitors: Vec<Value> = page
                .entries
                .iter()
                .filter_map(|entry| Some(brief(directory.spec(entry.row)?, entry.standing)))
                .collect();
            json!({
                "monitors": monitors,
                "total": page.total,
                "states": states(&page.states),
                "next": page.next.map(|cursor| cursor.to_string()),
            })
        })
        .await?;
    Ok(json(&body))
}

/// `GET /api/v1/monitors/summary`.
pub async fn summary(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let wanted: Wanted = query(&uri)?;
    let query = wanted.understood(&caller)?;
    let Some(by) = wanted.by else {
        return Err(Problem::bad(
            "by: the label whose values are counted by, or `plugin` or `tenant`",
        ));
    };
    let body = app
        .search(move |directory, board| {
            let summary = list::summary(directory, board, &query, &by);
            let groups: Vec<Value> = summary
                .groups
                .iter()
                .map(|(value, counts)| json!({ "value": value, "states": states(counts) }))
                .collect();
            json!({ "by": by, "groups": groups, "left_out": summary.left_out })
        })
        .await?;
    Ok(json(&body))
}

/// `GET /api/v1/labels`: names of labels, with how many values each has. Of a tenant only its own: they are counted then.
pub async fn labels(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let scope = caller.tenant.clone();
    let body = app
        .search(move |directory, _| {
            let labels: Vec<Value> = match scope {
                None => directory
                    .labels()
                    .into_iter()
                    .map(|(name, values)| json!({ "name": name, "values": values }))
                    .collect(),
                Some(tenant) => {
                    let mut own = std::collections::BTreeMap::new();
                    let rows = directory.of_tenant(&tenant);
                    for spec in rows.filter_map(|row| directory.spec(row)) {
                        for (name, value) in spec.labels.iter() {
                            let values: &mut std::collections::BTreeSet<Arc<str>> =
                                own.entry(Arc::clone(name)).or_default();
                            values.insert(Arc::clone(value));
                        }
                    }
                    own.iter()
                        .map(|(name, values)| json!({ "name": name, "values": values.len() }))
                        .collect()
                }
            };
            json!({ "labels": labels })
        })
        .await?;
    Ok(json(&body))
}

/// Counts by the name of their state.
pub(super) fn states(counts: &[u64; State::ALL.len()]) -> Value {
    let counts = State::ALL.iter().zip(counts);
    counts
        .map(|(state, count)| (state.name().to_owned(), Value::from(*count)))
        .collect::<Map<_, _>>()
        .into()
}

fn marks(marks: Marks) -> Vec<&'static str> {
    marks.iter().map(Mark::name).collect()
}

/// A monitor in a list.
fn brief(spec: &MonitorSpec, standing: Standing) -> Value {
    json!({
        "tenant": &*spec.tenant.name,
        "name": spec.name(),
        "state": standing.state.name(),
        "since": when(u64::from(standing.since) * 1000),
        "marks": marks(standing.marks),
        "plugin": spec.pulse.as_ref().map(|check| &*check.profile.plugin),
        "labels": labels_of(spec),
    })
}

fn labels_of(spec: &MonitorSpec) -> Value {
    spec.labels
        .iter()
        .map(|(name, value)| (name.to_string(), Value::from(&**value)))
        .collect::<Map<_, _>>()
        .into()
}

/// The monitor that a path means, if the caller may see it.
pub fn named(directory: &Directory, caller: &Caller, tenant: &str, name: &str) -> Result<Row, Problem> {
    let absent = || Problem::absent(format!("there is no monitor {tenant}/{name}"));
    if caller.tenant.as_deref().is_some_and(|own| own != tenant) {
        return Err(absent());
    }
    directory.named(tenant, name).ok_or_else(absent)
}

/// `GET /api/v1/monitors/{tenant}/{name}`.
pub async fn show(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path((tenant, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let directory = app.listed()?;
    let row = named(&directory, &caller, &tenant, &name)?;
    let gone = || Problem::absent(format!("there is no monitor {tenant}/{name} any more"));
    let detail = app.control.view(row.seat.monitor).await?.ok_or_else(gone)?;
    let standing = app.board.read(row.seat).ok_or_else(gone)?;
    let mut told = full(&app, &detail, standing);
    let (by, etag) = managed::managed_by(&app, &caller, &tenant, &name);
    if let Value::Object(told) = &mut told {
        told.insert("managed_by".to_owned(), by);
    }
    Ok(managed::tagged(json(&told), etag.as_deref()))
}

fn full(app: &App, detail: &Detail, standing: Standing) -> Value {
    let spec = &detail.spec;
    let policy = &spec.policy;
    let ms = |span: std::time::Duration| crate::domain::time::millis(span);
    let counters = detail.counters;
    json!({
        "tenant": &*spec.tenant.name,
        "name": spec.name(),
        "state": detail.state.name(),
        "since": when(u64::from(standing.since) * 1000),
        "marks": marks(detail.marks),
        "labels": labels_of(spec),
        "plugin": spec.pulse.as_ref().map(|check| &*check.profile.plugin),
        "settings": settings(app, spec, Kind::Pulse),
        "heartbeat": deadman::told(app, spec),
        "timeout_ms": spec.pulse.as_ref().map(|check| ms(check.timeout)),
        "policy": {
            "interval_ms": ms(policy.interval),
            "retry_interval_ms": ms(policy.retry_interval),
            "failure_threshold": policy.failure_threshold,
            "success_threshold": policy.success_threshold,
            "fault_threshold": policy.fault_threshold,
            "page_after_ms": ms(policy.page_after),
            "repeat_ms": policy.repeat.map(ms),
        },
        "intervention": spec.intervention.as_ref().map(|repair| json!({
            "plugin": &*repair.lane.profile.plugin,
            "settings": settings(app, spec, Kind::Intervention),
            "max_attempts": repair.max_attempts,
            "cooldown_ms": ms(repair.cooldown),
            "verify_window_ms": ms(repair.verify_window),
        })),
        "notifiers": spec.sinks.iter().map(|sink| &*sink.name).collect::<Vec<_>>(),
        "counters": {
            "failures": counters.failures,
            "successes": counters.successes,
            "faults": counters.faults,
            "interventions": counters.attempts,
        },
        "incident": detail.incident.as_ref().map(|incident| json!({
            "id": incident.id,
            "key": incident.key,
            "is_incident": counters.is_incident,
            "opened_at": when(incident.opened_at.0),
            "summary": incident.summary,
            "reason": incident.reason,
        })),
        "dependants": detail.children,
        "lanes": detail.lanes.iter().map(lane).collect::<Vec<_>>(),
        "runs": detail.runs.iter().rev().map(run).collect::<Vec<_>>(),
    })
}

fn lane(lane: &LaneDetail) -> Value {
    json!({
        "kind": lane.kind.name(),
        "notifier": lane.sink.as_deref(),
        "phase": match lane.phase {
            Phase::Waiting => "waiting",
            Phase::Needed => "needed",
            Phase::Pending => "pending",
            Phase::Paused => "paused",
        },
        "at": lane.at.map(|at| when(at.0)),
        "codes": lane.codes,
        "next_code": lane.next_code.as_ref().map(|code| json!({
            "color": code.color.name(),
            "title": code.title,
            "happened_at": when(code.happened_at.0),
        })),
    })
}

fn run(run: &Run) -> Value {
    let usage = run.usage;
    json!({
        "at": when(run.at.0),
        "outcome": run.class,
        "summary": run.summary,
        "status": run.report.as_ref().map(|report| report.status.name()),
        "reason": run.report.as_ref().and_then(|report| report.reason.as_deref()),
        "measurements": run.report.as_ref().map(|report| {
            let all = report.measurements.iter();
            all.map(|one| json!({ "name": one.name, "value": one.value, "unit": one.unit }))
                .collect::<Vec<_>>()
        }).unwrap_or_default(),
        "fuel": usage.fuel,
        "cpu_us": u64::try_from(usage.cpu.as_micros()).unwrap_or(u64::MAX),
        "took_us": u64::try_from(usage.wall.as_micros()).unwrap_or(u64::MAX),
        "peak_memory_bytes": usage.peak_memory_bytes,
        "lateness_us": u64::try_from(run.lateness.as_micros()).unwrap_or(u64::MAX),
    })
}

/// The settings of a job, without anything that nobody may read. Null: they can't be shown.
fn settings(app: &App, spec: &MonitorSpec, kind: Kind) -> Value {
    let Some(assignment) = spec.assignment(kind, 0) else {
        return Value::Null;
    };
    let library = app.plugins.library();
    let profile = assignment.profile;
    let plugin = library
        .get(&profile.plugin, &profile.digest)
        .or_else(|| library.named(&profile.plugin));
    let facts = match plugin {
        Some(plugin) => Some(&plugin.facts),
        None => is_watched(profile).then(|| &*FACTS),
    };
    let (Some(facts), Ok(mut settings)) = (facts, serde_json::from_str(assignment.settings)) else {
        return Value::Null;
    };
    if secrets::hide(&facts.schema, &mut settings).is_err() {
        return Value::Null;
    }
    name_secrets(&mut settings);
    settings
}

/// Writes the names of secrets as the configuration does.
fn name_secrets(settings: &mut Value) {
    match settings {
        Value::String(text) if text.contains(OPEN) => {
            *text = text.replace(OPEN, "${secret:").replace(CLOSE, "}");
        }
        Value::Array(items) => items.iter_mut().for_each(name_secrets),
        Value::Object(entries) => entries.values_mut().for_each(name_secrets),
        _ => {}
    }
}

impl App {
    /// Looks through the directory where nobody else has to wait for it.
    ///
    /// # Errors
    /// When too many look already.
    pub async fn search<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Directory, &Board) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || Problem::busy("too many lists are being made");
        let Ok(Ok(permit)) =
            tokio::time::timeout(self.settings.timeout / 2, Arc::clone(&self.lists).acquire_owned()).await
        else {
            return Err(busy());
        };
        let (directory, board) = (self.listed()?, Arc::clone(&self.board));
        tokio::task::spawn_blocking(move || {
            let found = look(&directory, &board);
            drop(permit);
            found
        })
        .await
        .map_err(|_| Problem::internal("the list could not be made"))
    }
}
