//! The table of routes: which there are, and who may use each. Nothing is served that does not stand here.

use super::{
    App, dashboard,
    guard::{self, Access},
    health, metrics, monitors,
    problem::Problem,
    reload,
};
use axum::{
    Router,
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{MethodRouter, get, post},
};

/// One route.
pub struct Route {
    /// `GET` (and with it `HEAD`), `POST` or `DELETE`.
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
        "The host's own figures for Prometheus",
        || get(metrics::metrics),
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
    route("GET", "/api/v1/labels", Access::Look, "Names of labels", || {
        get(monitors::labels)
    }),
];

/// Serves all of them.
pub fn router(app: &App) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let admit = from_fn_with_state((app.clone(), route.access), guard::admit);
        router = router.route(route.path, (route.handler)().layer(admit));
    }
    router
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
