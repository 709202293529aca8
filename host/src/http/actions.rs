//! What operators do to one monitor: pause and resume it, have it checked, acknowledge its incident.

use super::{
    App,
    monitors::named,
    orders::{self, comment, order_json, span},
    problem::Problem,
    reply::{json, told},
    tokens::Caller,
};
use crate::{
    domain::{
        order::{Order, What, Whom},
        schedule::Schedule,
        time::Wall,
    },
    operate::directory::Row,
    scheduler::control::Checking,
};
use axum::{
    Extension,
    body::Bytes,
    extract::{Path, State as Shared},
    response::Response,
};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// What is said with an action.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Told {
    comment: String,
    #[serde(rename = "for")]
    lasts: Option<String>,
}

type Named = Path<(String, String)>;

fn row(app: &App, caller: &Caller, (tenant, name): &(String, String)) -> Result<Row, Problem> {
    let directory = app.listed()?;
    named(&directory, caller, tenant, name)
}

fn gone(row: &Row) -> Problem {
    Problem::absent(format!(
        "there is no monitor {}/{} any more",
        row.spec.tenant.name,
        row.spec.name()
    ))
}

/// An order about that monitor, from now on.
fn order(app: &App, caller: &Caller, row: &Row, what: What, told: &Told) -> Result<Order, Problem> {
    let now = app.clock.wall();
    let lasts = told.lasts.as_deref().map(span).transpose()?;
    Ok(Order {
        id: orders::fresh(what)?,
        what,
        whom: Whom::one(&row.spec),
        schedule: Schedule::from_now(now, lasts),
        by: Arc::clone(&caller.name),
        comment: comment(&told.comment)?,
        made_at: now,
        incident: None,
    })
}

/// Orders of that kind about that very monitor.
fn present(app: &App, row: &Row, what: What) -> Vec<Arc<Order>> {
    let about = |order: &Arc<Order>| {
        order.what == what && matches!(order.whom, Whom::One { .. }) && order.whom.means(&row.spec)
    };
    app.orders.all().into_iter().filter(about).collect()
}

async fn take_back(app: &App, before: &[Arc<Order>]) -> Result<(), Problem> {
    for order in before {
        orders::remove(app, &order.id).await?;
    }
    Ok(())
}

/// `POST /api/v1/monitors/{tenant}/{name}/pause`.
pub async fn pause(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path(path): Named,
    body: Bytes,
) -> Result<Response, Problem> {
    let row = row(&app, &caller, &path)?;
    let order = order(&app, &caller, &row, What::Pause, &told(&body)?)?;
    let before = present(&app, &row, What::Pause);
    let (order, kept) = orders::add(&app, order).await?;
    take_back(&app, &before).await?;
    orders::settle(&app).await?;
    Ok(json(&json!({
        "changed": before.is_empty(),
        "order": order_json(&order, app.clock.wall(), kept.as_ref().err()),
    })))
}

/// `POST /api/v1/monitors/{tenant}/{name}/resume`.
pub async fn resume(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path(path): Named,
) -> Result<Response, Problem> {
    let row = row(&app, &caller, &path)?;
    let before = present(&app, &row, What::Pause);
    take_back(&app, &before).await?;
    orders::settle(&app).await?;
    let now = app.clock.wall();
    let others =
        app.orders.all().into_iter().find(|order| {
            order.what == What::Pause && order.schedule.holds(now) && order.whom.means(&row.spec)
        });
    if let Some(other) = others {
        return Err(Problem::conflict(format!(
            "it is paused with others still, by the pause {}; taking that back resumes all of them",
            other.id
        )));
    }
    Ok(json(&json!({ "changed": !before.is_empty() })))
}

/// `POST /api/v1/monitors/{tenant}/{name}/check`.
pub async fn check(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path(path): Named,
) -> Result<Response, Problem> {
    let row = row(&app, &caller, &path)?;
    match app.control.check(row.seat.monitor).await? {
        Checking::Due => Ok(json(&json!({ "changed": true, "checking": "due" }))),
        Checking::UnderWay => Ok(json(&json!({ "changed": false, "checking": "under-way" }))),
        Checking::Paused => Err(Problem::conflict("it is paused; resume it first")),
        Checking::Gone => Err(gone(&row)),
    }
}

/// `POST /api/v1/monitors/{tenant}/{name}/acknowledge`.
pub async fn acknowledge(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path(path): Named,
    body: Bytes,
) -> Result<Response, Problem> {
    let row = row(&app, &caller, &path)?;
    let mut order = order(&app, &caller, &row, What::Acknowledgement, &told(&body)?)?;
    let nothing = || Problem::conflict("it has no open incident that could be acknowledged");
    let detail = app
        .control
        .view(row.seat.monitor)
        .await?
        .ok_or_else(|| gone(&row))?;
    order.incident = Some(detail.incident.ok_or_else(nothing)?.id.into());
    let before = present(&app, &row, What::Acknowledgement);
    let now: Wall = app.clock.wall();
    let kept = app
        .orders
        .acknowledge(order.clone(), row.seat, &app.control)
        .await?
        .ok_or_else(nothing)?
        .map_err(orders::refused)?;
    take_back(&app, &before).await?;
    Ok(json(&json!({
        "changed": before.is_empty(),
        "order": order_json(&order, now, kept.as_ref().err()),
    })))
}

/// `POST /api/v1/monitors/{tenant}/{name}/unacknowledge`.
pub async fn unacknowledge(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    Path(path): Named,
) -> Result<Response, Problem> {
    let row = row(&app, &caller, &path)?;
    let before = present(&app, &row, What::Acknowledgement);
    take_back(&app, &before).await?;
    orders::settle(&app).await?;
    Ok(json(&json!({ "changed": !before.is_empty() })))
}
