//! `POST /api/v1/heartbeats/{tenant}/{name}`: what a heartbeat monitor watches says that it is well.
//!
//! It shows the monitor's own token, which is good for that and for nothing else.

use super::{
    App, guard,
    problem::Problem,
    reply::{json, when},
    tokens,
};
use crate::domain::{deadman::Watch, saved::MonitorKey, spec::MonitorSpec};
use axum::{
    extract::{Path, State as Shared},
    http::{HeaderMap, header},
    response::Response,
};
use serde_json::{Value, json};

/// A heartbeat.
pub async fn beat(
    Shared(app): Shared<App>,
    Path((tenant, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let token = headers.get(header::AUTHORIZATION).and_then(guard::bearer);
    let token = token
        .ok_or_else(|| Problem::unknown_caller("show the monitor's own token: Authorization: Bearer …"))?;
    let directory = app.listed()?;
    let row = directory.named(&tenant, &name);
    // Who does not know the token learns nothing, not even whether there is such a monitor.
    let found = row.and_then(|row| {
        let watch = Watch::of(&row.spec)?;
        tokens::is_of(&watch.hash, token).then_some(row)
    });
    let row =
        found.ok_or_else(|| Problem::unknown_caller("no heartbeat monitor of that name has that token"))?;
    let heard = app.switches.hear(MonitorKey::of(&row.spec), app.clock.now());
    // It was added or taken away this very moment.
    let worth_a_look = heard.ok_or_else(|| Problem::busy("the configuration changes; try again"))?;
    if worth_a_look {
        // Where the scheduler has no time for that, the next check finds out.
        let _ = app.control.check(row.seat.monitor).await;
    }
    Ok(json(&told(&app, &row.spec)))
}

/// How a monitor's heartbeats stand; null: it is watched by a plugin.
pub fn told(app: &App, spec: &MonitorSpec) -> Value {
    let heard = Watch::of(spec).and_then(|watch| {
        let heard = app.switches.heard(MonitorKey::of(spec), &watch)?;
        Some((watch, heard))
    });
    let Some((watch, heard)) = heard else {
        return Value::Null;
    };
    let ms = crate::domain::time::millis;
    json!({
        "every_ms": ms(watch.every()),
        "grace_ms": ms(watch.grace()),
        "heard_at": heard.at.map(|at| when(at.0)),
        "deadline": app.clock.now().to_wall(heard.deadline).map(|at| when(at.0)),
    })
}
