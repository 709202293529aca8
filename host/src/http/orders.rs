//! Pauses, silences and windows of maintenance: those that hold or will, more of them, and their end.

use super::{
    App,
    problem::Problem,
    reply::{json, json_as, query, told, when},
    tokens::{self, Caller},
};
use crate::{
    config::{parse_duration, show_duration},
    domain::{
        order::{COMMENT_BYTES_MAX, Order, What, Whom},
        schedule::{Days, Lasts, Recurring, Schedule, Zone},
        selector::Selector,
        time::Wall,
    },
    operate::orders::{ORDERS_MAX, Refused, SELECTORS_MAX},
};
use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State as Shared},
    http::{StatusCode, Uri},
    response::Response,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Longer than anybody means.
const LASTS_MAX: Duration = Duration::from_secs(3660 * 86_400);

/// What a new one is made from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Told {
    selector: Option<String>,
    tenant: Option<String>,
    comment: String,
    from: Option<String>,
    until: Option<String>,
    #[serde(rename = "for")]
    lasts: Option<String>,
    days: Option<Vec<String>>,
    at: Option<String>,
    zone: Option<String>,
}

/// What a list may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    tenant: Option<String>,
}

/// A new id, which says what it is.
///
/// # Errors
/// The operating system gives no chance.
pub fn fresh(what: What) -> Result<Arc<str>, Problem> {
    let word = match what {
        What::Pause => "pause",
        What::Maintenance => "window",
        What::Silence => "silence",
        What::Acknowledgement => "ack",
    };
    let chance = tokens::chance::<6>().map_err(|error| Problem::internal(error.to_string()))?;
    Ok(format!("{word}-{chance}").into())
}

/// How long something lasts.
///
/// # Errors
/// It is no length of time, or none that anybody means.
pub fn span(text: &str) -> Result<Duration, Problem> {
    let span = parse_duration(text).map_err(|wrong| Problem::bad(format!("for: {wrong}")))?;
    if span < Duration::from_secs(1) || span > LASTS_MAX {
        return Err(Problem::bad("for: between a second and ten years"));
    }
    Ok(span)
}

/// Why something is done.
///
/// # Errors
/// It is too long, or more than a line.
pub fn comment(text: &str) -> Result<Arc<str>, Problem> {
    if text.len() > COMMENT_BYTES_MAX {
        return Err(Problem::bad(format!(
            "comment: at most {COMMENT_BYTES_MAX} bytes"
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Problem::bad("comment: one line, without control characters"));
    }
    Ok(text.trim().into())
}

/// Why an order was not taken, or not taken back.
#[must_use]
pub fn refused(refused: Refused) -> Problem {
    match refused {
        Refused::Full => Problem::conflict(format!(
            "there are as many as there may be: {ORDERS_MAX}, of which {SELECTORS_MAX} with selectors"
        )),
        Refused::Configured => {
            Problem::conflict("it stands in the configuration, and is taken back by taking it out there")
        }
        Refused::Absent => Problem::absent("there is none of that id"),
    }
}

/// Has it on record.
///
/// # Errors
/// There are too many.
pub async fn add(app: &App, order: Order) -> Result<(Order, Result<(), String>), Problem> {
    let (orders, added) = (app.orders.clone(), order.clone());
    let kept = tokio::task::spawn_blocking(move || orders.add(added))
        .await
        .map_err(|error| Problem::internal(error.to_string()))?
        .map_err(refused)?;
    if let Err(error) = &kept {
        tracing::warn!(
            "{} is in effect, but not on record, and a restart forgets it: {error}",
            order.id
        );
    }
    Ok((order, kept))
}

/// Takes it off the record.
///
/// # Errors
/// There is none.
pub async fn remove(app: &App, id: &Arc<str>) -> Result<(), Problem> {
    let (orders, id) = (app.orders.clone(), Arc::clone(id));
    let removed = tokio::task::spawn_blocking(move || orders.remove(&id))
        .await
        .map_err(|error| Problem::internal(error.to_string()))?
        .map_err(refused)?;
    removed.map_err(|error| {
        Problem::internal(format!(
            "it is not in effect any more, but a restart brings it back: {error}"
        ))
    })
}

/// Puts into effect what was changed. How many monitors are marked otherwise than before.
///
/// # Errors
/// The scheduler has no time; it is put into effect later.
pub async fn settle(app: &App) -> Result<usize, Problem> {
    Ok(app
        .orders
        .settle(&app.directory, &app.board, &app.control)
        .await?)
}

/// An order as the API tells it. `unkept`: why it is not on record.
#[must_use]
pub fn order_json(order: &Order, now: Wall, unkept: Option<&String>) -> Value {
    let (mut from, mut until, mut days, mut at, mut lasts, mut zone) = (
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
    );
    match &order.schedule {
        Schedule::Once {
            from: begin,
            until: end,
        } => {
            from = when(begin.0).into();
            until = end.map(|end| when(end.0)).into();
        }
        Schedule::Recurring(recurring) => {
            days = recurring.days.names().collect();
            at = recurring.at.to_string().into();
            lasts = show_duration(recurring.lasts.span()).into();
            zone = recurring.zone.to_string().into();
        }
    }
    let (monitor, selector) = match &order.whom {
        Whom::One { monitor, .. } => (Some(&**monitor), None),
        Whom::All { selector, .. } => (None, Some(selector.to_string())),
    };
    json!({
        "id": &*order.id,
        "tenant": order.whom.tenant().map(|tenant| &**tenant),
        "monitor": monitor,
        "selector": selector,
        "from": from,
        "until": until,
        "days": days,
        "at": at,
        "for": lasts,
        "zone": zone,
        "comment": &*order.comment,
        "by": (!order.by.is_empty()).then_some(&*order.by),
        "made_at": (order.made_at.0 > 0).then(|| when(order.made_at.0)),
        "incident": order.incident.as_deref(),
        "active": order.schedule.holds(now),
        "next_change": order.schedule.edge(now).map(|edge| when(edge.0)),
        "configured": order.is_configured(),
        "unkept": unkept,
    })
}

/// Whether the caller may know of it.
fn sees(caller: &Caller, order: &Order) -> bool {
    caller.tenant.is_none() || caller.tenant.as_ref() == order.whom.tenant()
}

/// Those of one kind.
pub async fn index(
    what: What,
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let wanted: Wanted = query(&uri)?;
    let tenant = caller.scope(wanted.tenant.as_deref())?;
    let now = app.clock.wall();
    let all = app.orders.all();
    let fits = |order: &&Arc<Order>| {
        order.what == what
            && sees(&caller, order)
            && (tenant.is_none() || tenant.as_ref() == order.whom.tenant())
    };
    let orders: Vec<Value> = all
        .iter()
        .filter(fits)
        .map(|order| order_json(order, now, None))
        .collect();
    Ok(json(&json!({ "orders": orders })))
}

/// One more.
pub async fn create(
    what: What,
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Response, Problem> {
    let told: Told = told(&body)?;
    let now = app.clock.wall();
    let Some(selector) = &told.selector else {
        return Err(Problem::bad(
            "selector: which monitors, as in site=\"a\"; an empty one means all of them",
        ));
    };
    let selector: Selector = selector
        .parse()
        .map_err(|wrong| Problem::bad(format!("selector: {wrong}")))?;
    let order = Order {
        id: fresh(what)?,
        what,
        whom: Whom::All {
            tenant: caller.scope(told.tenant.as_deref())?,
            selector,
        },
        schedule: schedule(&told, now)?,
        by: Arc::clone(&caller.name),
        comment: comment(&told.comment)?,
        made_at: now,
        incident: None,
    };
    if order.schedule.is_over(now) {
        return Err(Problem::bad("until: that is past"));
    }
    let (order, kept) = add(&app, order).await?;
    tracing::info!(
        "{} {} begins{} for {}",
        caller.name,
        order.id,
        if order.comment.is_empty() {
            String::new()
        } else {
            format!(" ({})", order.comment)
        },
        match &order.whom {
            Whom::All { selector, .. } if !selector.is_empty() => selector.to_string(),
            _ => "all monitors".to_owned(),
        }
    );
    let changed = settle(&app).await?;
    let mut body = order_json(&order, now, kept.as_ref().err());
    if let Value::Object(body) = &mut body {
        body.insert("changed".to_owned(), changed.into());
    }
    Ok(json_as(StatusCode::CREATED, &body))
}

fn schedule(told: &Told, now: Wall) -> Result<Schedule, Problem> {
    let bad = |key: &str, wrong: String| Problem::bad(format!("{key}: {wrong}"));
    let zone: Zone = match &told.zone {
        Some(zone) => zone.parse().map_err(|wrong| bad("zone", wrong))?,
        None => Zone::default(),
    };
    let lasts = told.lasts.as_deref().map(span).transpose()?;
    if told.days.is_some() || told.at.is_some() {
        if told.from.is_some() || told.until.is_some() {
            return Err(Problem::bad(
                "either once (from, until, for), or again and again (days, at, for, zone)",
            ));
        }
        let at = told
            .at
            .as_deref()
            .ok_or_else(|| bad("at", "when it begins, as 22:00".to_owned()))?;
        let lasts = lasts.ok_or_else(|| bad("for", "how long it lasts, as 2h".to_owned()))?;
        return Ok(Schedule::Recurring(Recurring {
            days: match &told.days {
                Some(days) => {
                    Days::named(days.iter().map(String::as_str)).map_err(|wrong| bad("days", wrong))?
                }
                None => Days::ALL,
            },
            at: at.parse().map_err(|wrong| bad("at", wrong))?,
            lasts: Lasts::new(lasts).map_err(|wrong| bad("for", wrong))?,
            zone,
        }));
    }
    let point = |key: &str, text: &Option<String>| match text {
        Some(text) => zone.point(text).map(Some).map_err(|wrong| bad(key, wrong)),
        None => Ok(None),
    };
    let from = point("from", &told.from)?.unwrap_or(now);
    let until = match (point("until", &told.until)?, lasts) {
        (Some(_), Some(_)) => return Err(Problem::bad("either `until` or `for`")),
        (until, None) => until,
        (None, Some(lasts)) => Some(Wall(from.0.saturating_add(crate::domain::time::millis(lasts)))),
    };
    if until.is_some_and(|until| until <= from) {
        return Err(Problem::bad("until: it ends before it begins"));
    }
    Ok(Schedule::Once { from, until })
}

fn found(app: &App, caller: &Caller, what: What, id: &str) -> Result<Arc<Order>, Problem> {
    app.orders
        .get(id)
        .filter(|order| order.what == what && sees(caller, order))
        .ok_or_else(|| refused(Refused::Absent))
}

/// One of them.
pub async fn show(
    what: What,
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let order = found(&app, &caller, what, &id)?;
    Ok(json(&order_json(&order, app.clock.wall(), None)))
}

/// Its end.
pub async fn delete(
    what: What,
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let order = found(&app, &caller, what, &id)?;
    remove(&app, &order.id).await?;
    tracing::info!("{} has ended {}", caller.name, order.id);
    let changed = settle(&app).await?;
    Ok(json(&json!({ "changed": changed })))
}
