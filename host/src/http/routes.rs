//! The table of routes: which there are, and who may use each. Nothing is served that does not stand here.

use super::{
    App, actions, dashboard, deadman,
    guard::{self, Access},
    health, managed, metrics, monitors, openapi, orders, plugins, probe,
    problem::Problem,
    records, reload, stream, tenants,
};
use crate::domain::order::What;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{MethodRouter, delete, get, post, put},
};

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// One route.
pub struct Route {
    /// `GET` (and with it `HEAD`), `POST`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// With `{name}` where a name stands.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    /// What it does, in one line.
    pub does: &'static str,
    handler: fn() -> MethodRouter<App>,
}

const fn route(
    method: &'static str,
    path: &'static str,
    access: Access,
    does: &'static str,
    handler: fn() -> MethodRouter<App>,
) -> Route {
    Route {
        method,
        path,
        access,
        does,
        handler,
    }
}

/// All routes.
pub const ROUTES: &[Route] = &[
    route("GET", "/", Access::Open, "The dashboard", || get(dashboard::page)),
    route(
        "GET",
        "/assets/{file}",
        Access::Open,
        "What the dashboard consists of",
        || get(dashboard::asset),
    ),
    route(
        "GET",
        "/healthz",
        Access::Open,
        "Whether the host is alive",
        || get(health::alive),
    ),
    route(
        "GET",
        "/readyz",
        Access::Open,
        "Whether the host checks monitors on time",
        || get(health::ready),
    ),
    route(
        "GET",
        "/metrics",
        Access::Figures,
        "Figures for Prometheus",
        || get(metrics::metrics),
    ),
    route(
        "GET",
        "/probe",
        Access::Act,
        "One check of a target, for Prometheus",
        || get(probe::probe),
    ),
    route(
        "POST",
        "/-/reload",
        Access::Rule,
        "Reads configuration and plugins anew",
        || post(reload::reload),
    ),
    route(
        "GET",
        "/api/v1/openapi.json",
        Access::Look,
        "This API for programs, in OpenAPI 3.1",
        || get(openapi::document),
    ),
    route(
        "GET",
        "/api/v1/status",
        Access::Look,
        "The host at a glance",
        || get(health::status),
    ),
    route(
        "GET",
        "/api/v1/monitors",
        Access::Look,
        "Monitors: filtered, searched, sorted, by the page",
        || get(monitors::index),
    ),
    route(
        "GET",
        "/api/v1/monitors/summary",
        Access::Look,
        "Counts of monitors by state and label",
        || get(monitors::summary),
    ),
    route(
        "GET",
        "/api/v1/monitors/{tenant}/{name}",
        Access::Look,
        "One monitor in detail",
        || get(monitors::show),
    ),
    route(
        "PUT",
        "/api/v1/monitors/{tenant}/{name}",
        Access::Manage,
        "Puts a monitor, new or in the place of the one before",
        || put(managed::put),
    ),
    route(
        "DELETE",
        "/api/v1/monitors/{tenant}/{name}",
        Access::Manage,
        "Takes away a monitor that was put",
        || delete(managed::remove),
    ),
    route(
        "POST",
        "/api/v1/monitors/{tenant}",
        Access::Manage,
        "Puts many monitors of a tenant, all or none",
        || post(managed::import),
    ),
    route(
        "GET",
        "/api/v1/documents",
        Access::Manage,
        "Monitors that were put, as they were, by the page",
        || get(managed::index),
    ),
    route(
        "POST",
        "/api/v1/monitors/{tenant}/{name}/pause",
        Access::Act,
        "Stops checking a monitor",
        || post(actions::pause),
    ),
    route(
        "POST",
        "/api/v1/monitors/{tenant}/{name}/resume",
        Access::Act,
        "Checks a paused monitor again",
        || post(actions::resume),
    ),
    route(
        "POST",
        "/api/v1/monitors/{tenant}/{name}/check",
        Access::Act,
        "Checks a monitor now",
        || post(actions::check),
    ),
    route(
        "POST",
        "/api/v1/monitors/{tenant}/{name}/acknowledge",
        Access::Act,
        "Says that somebody takes care of its open incident",
        || post(actions::acknowledge),
    ),
    route(
        "POST",
        "/api/v1/monitors/{tenant}/{name}/unacknowledge",
        Access::Act,
        "Takes that back",
        || post(actions::unacknowledge),
    ),
    route(
        "GET",
        "/api/v1/pauses",
        Access::Look,
        "Pauses, those to come too",
        || get(|app, caller, uri| orders::index(What::Pause, app, caller, uri)),
    ),
    route(
        "POST",
        "/api/v1/pauses",
        Access::Act,
        "Begins one, for all monitors that a selector means",
        || post(|app, caller, body| orders::create(What::Pause, app, caller, body)),
    ),
    route("GET", "/api/v1/pauses/{id}", Access::Look, "One of them", || {
        get(|app, caller, id| orders::show(What::Pause, app, caller, id))
    }),
    route("DELETE", "/api/v1/pauses/{id}", Access::Act, "Ends it", || {
        delete(|app, caller, id| orders::delete(What::Pause, app, caller, id))
    }),
    route(
        "GET",
        "/api/v1/silences",
        Access::Look,
        "Silences, those to come too",
        || get(|app, caller, uri| orders::index(What::Silence, app, caller, uri)),
    ),
    route(
        "POST",
        "/api/v1/silences",
        Access::Act,
        "Begins one, for all monitors that a selector means",
        || post(|app, caller, body| orders::create(What::Silence, app, caller, body)),
    ),
    route(
        "GET",
        "/api/v1/silences/{id}",
        Access::Look,
        "One of them",
        || get(|app, caller, id| orders::show(What::Silence, app, caller, id)),
    ),
    route("DELETE", "/api/v1/silences/{id}", Access::Act, "Ends it", || {
        delete(|app, caller, id| orders::delete(What::Silence, app, caller, id))
    }),
    route(
        "GET",
        "/api/v1/maintenance",
        Access::Look,
        "Windows of maintenance, those to come too",
        || get(|app, caller, uri| orders::index(What::Maintenance, app, caller, uri)),
    ),
    route(
        "POST",
        "/api/v1/maintenance",
        Access::Act,
        "Begins one, for all monitors that a selector means",
        || post(|app, caller, body| orders::create(What::Maintenance, app, caller, body)),
    ),
    route(
        "GET",
        "/api/v1/maintenance/{id}",
        Access::Look,
        "One of them",
        || get(|app, caller, id| orders::show(What::Maintenance, app, caller, id)),
    ),
    route(
        "DELETE",
        "/api/v1/maintenance/{id}",
        Access::Act,
        "Ends it",
        || delete(|app, caller, id| orders::delete(What::Maintenance, app, caller, id)),
    ),
    route(
        "GET",
        "/api/v1/monitors/{tenant}/{name}/history",
        Access::Look,
        "One monitor's checks over time",
        || get(records::history),
    ),
    route(
        "POST",
        "/api/v1/heartbeats/{tenant}/{name}",
        Access::Own,
        "Says that what a heartbeat monitor watches is well",
        || post(deadman::beat),
    ),
    route("GET", "/api/v1/labels", Access::Look, "Names of labels", || {
        get(monitors::labels)
    }),
    route(
        "GET",
        "/api/v1/incidents",
        Access::Look,
        "Incidents, the last first, by the page",
        || get(records::incidents),
    ),
    route(
        "GET",
        "/api/v1/incidents/{id}",
        Access::Look,
        "One incident and what happened in it",
        || get(records::one),
    ),
    route(
        "GET",
        "/api/v1/events",
        Access::Look,
        "What happened outside of incidents, the last first, by the page",
        || get(records::events),
    ),
    route(
        "GET",
        "/api/v1/plugins",
        Access::Look,
        "Plugins: what they may reach, and how they fare",
        || get(plugins::index),
    ),
    route(
        "GET",
        "/api/v1/tenants",
        Access::Look,
        "Tenants: what they may use, and what they have used",
        || get(tenants::index),
    ),
    route(
        "GET",
        "/api/v1/stream",
        Access::Look,
        "What happens, as it happens, as server-sent events",
        || get(stream::stream),
    ),
];

/// Serves all of them.
pub fn router(app: &App) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let admit = from_fn_with_state((app.clone(), route.access), guard::admit);
        router = router.route(route.path, (route.handler)().layer(admit));
    }
    router
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .fallback(|| async {
            Problem::absent("nothing is served under this path; docs/api.md lists what is")
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The path is known, the method is not",
                "docs/api.md lists what is served",
            )
        })
        .layer(from_fn_with_state(app.clone(), super::listen::counted))
        .layer(from_fn_with_state(app.clone(), guard::around))
        .with_state(app.clone())
}
