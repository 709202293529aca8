//! How the host itself is.

use super::{
    App,
    problem::Problem,
    reply::{json, when},
    tokens::Caller,
};
use crate::domain::{health::State, spec::Kind};
use axum::{
    Extension,
    extract::State as Shared,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};
use std::{sync::atomic::Ordering, time::Duration};

/// Figures that are older show that the scheduler does not run.
const STALE: Duration = Duration::from_secs(5);

/// `GET /healthz`.
pub async fn alive() -> Response {
    "ok\n".into_response()
}

/// `GET /readyz`.
pub async fn ready(Shared(app): Shared<App>) -> Response {
    match unready(&app) {
        None => "ready\n".into_response(),
        Some(why) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "The host is not ready",
            why,
        )
        .into_response(),
    }
}

/// Why the host is not ready; none: it is.
fn unready(app: &App) -> Option<&'static str> {
    if app.stopping.load(Ordering::Acquire) {
        return Some("the host is stopping");
    }
    if !app.filled.load(Ordering::Acquire) {
        return Some("the host is starting");
    }
    (app.clock.mono().since(app.stats.at()) > STALE).then_some("the scheduler has not run for some seconds")
}

/// `GET /api/v1/status`.
pub async fn status(Shared(app): Shared<App>, Extension(caller): Extension<Caller>) -> Response {
    let mut body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "caller": {
            "name": &*caller.name,
            "role": caller.role.name(),
            "tenant": caller.tenant.as_deref(),
        },
        "ready": unready(&app).is_none(),
        "now": when(app.clock.wall().0),
    });
    // What is everybody's is no tenant's business.
    if let (None, Some(body)) = (&caller.tenant, body.as_object_mut()) {
        let snapshot = app.stats.snapshot();
        let states: Map<String, Value> = State::ALL
            .iter()
            .map(|state| {
                let count = snapshot.states.get(state.name()).copied().unwrap_or_default();
                (state.name().to_owned(), count.into())
            })
            .collect();
        let record = app.reloads.record();
        let jobs: Map<String, Value> = Kind::ALL
            .iter()
            .map(|kind| {
                let counts = snapshot.kinds.get(*kind);
                let late = &snapshot.times.get(*kind).lateness;
                let jobs = json!({
                    "sent": counts.sent,
                    "needed": counts.needed,
                    "pending": counts.pending,
                    "limit": counts.limit,
                    "lost": counts.lost,
                    "lateness_p50_us": u64::try_from(late.quantile(0.5).as_micros()).unwrap_or(u64::MAX),
                    "lateness_p99_us": u64::try_from(late.quantile(0.99).as_micros()).unwrap_or(u64::MAX),
                    "outcomes": counts.outcomes.iter().map(|(class, count)| (class.to_owned(), count.into())).collect::<Map<String, Value>>(),
                });
                (kind.name().to_owned(), jobs)
            })
            .collect();
        body.insert("started".to_owned(), when(app.started.0).into());
        body.insert("monitors".to_owned(), states.into());
        body.insert("jobs".to_owned(), jobs.into());
        body.insert("codes_waiting".to_owned(), snapshot.outbox.into());
        body.insert("codes_undeliverable".to_owned(), snapshot.undeliverable.into());
        body.insert("plugins_quarantined".to_owned(), snapshot.quarantined.into());
        body.insert("interventions_paused".to_owned(), (snapshot.paused > 0).into());
        body.insert(
            "configuration".to_owned(),
            json!({
                "read_at": when(record.effective_since.0),
                "last_reload": record.last.map(|last| json!({
                    "at": when(last.at.0),
                    "ok": last.told.is_ok(),
                    "message": match &last.told {
                        Ok(told) | Err(told) => told,
                    },
                })),
            }),
        );
    }
    json(&body)
}
