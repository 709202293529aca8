//! `GET /api/v1/openapi.json`: the API for programs, in OpenAPI 3.1.
//!
//! Which routes there are, and who may use them, comes from the table of routes; what they take and give stands in
//! [`OPERATIONS`] and `openapi.json` beside this file. A test holds the one against the other, and what is said to be taken
//! against what is taken.

use super::{
    guard::Access,
    problem::Problem,
    reply::json,
    routes::{ROUTES, Route},
};
use axum::response::Response;
use serde_json::{Map, Value, json};

/// What a route takes and gives, beside what the table of routes says.
pub(super) struct Operation {
    method: &'static str,
    path: &'static str,
    /// Behind the question mark: names of `components.parameters`.
    pub query: &'static [&'static str],
    /// In the body: a name of `components.schemas`; empty: there is none.
    pub body: &'static str,
    /// In the answer: a name of `components.schemas`, or a media type where it is no JSON.
    pub gives: &'static str,
    /// The status of its answer.
    pub status: u16,
    /// Statuses of problems that are its own, beside those that any route may answer with.
    pub problems: &'static [u16],
}

const fn operation(
    method: &'static str,
    path: &'static str,
    query: &'static [&'static str],
    gives: &'static str,
    problems: &'static [u16],
) -> Operation {
    Operation {
        method,
        path,
        query,
        body: "",
        gives,
        status: 200,
        problems,
    }
}

impl Operation {
    const fn taking(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }

    const fn making(mut self) -> Self {
        self.status = 201;
        self
    }
}

/// All of them.
const OPERATIONS: &[Operation] = &[
    operation("GET", "/", &[], "text/html", &[]),
    operation("GET", "/assets/{file}", &[], "*/*", &[404]),
    operation("GET", "/healthz", &[], "text/plain", &[]),
    operation("GET", "/readyz", &[], "text/plain", &[]),
    operation("GET", "/metrics", &[], "text/plain", &[]),
    operation(
        "GET",
        "/probe",
        &["target", "module", "hostname", "debug"],
        "text/plain",
        &[400],
    ),
    operation("POST", "/-/reload", &[], "Reloaded", &[422]),
    operation("GET", "/api/v1/openapi.json", &[], "Document", &[]),
    operation("GET", "/api/v1/status", &[], "Status", &[]),
    operation(
        "GET",
        "/api/v1/monitors",
        &[
            "tenant", "selector", "search", "state", "mark", "sort", "limit", "cursor",
        ],
        "Monitors",
        &[400, 404],
    ),
    operation(
        "GET",
        "/api/v1/monitors/summary",
        &[
            "by", "tenant", "selector", "search", "state", "mark", "sort", "limit", "cursor",
        ],
        "Summary",
        &[400, 404],
    ),
    operation("GET", "/api/v1/monitors/{tenant}/{name}", &[], "Monitor", &[404]),
    operation(
        "PUT",
        "/api/v1/monitors/{tenant}/{name}",
        &["dry-run"],
        "Put",
        &[400, 404, 409, 412, 413, 422, 501],
    )
    .taking("MonitorDocument"),
    operation(
        "DELETE",
        "/api/v1/monitors/{tenant}/{name}",
        &["dry-run"],
        "Imported",
        &[400, 404, 409, 412, 422, 501],
    ),
    operation(
        "POST",
        "/api/v1/monitors/{tenant}",
        &["mode", "dry-run"],
        "Imported",
        &[400, 404, 409, 413, 422, 501],
    )
    .taking("MonitorDocuments"),
    operation(
        "GET",
        "/api/v1/documents",
        &["tenant", "set-aside", "limit", "after"],
        "Documents",
        &[400, 404],
    ),
    operation(
        "GET",
        "/api/v1/monitors/{tenant}/{name}/history",
        &["span", "from", "to"],
        "History",
        &[400, 404],
    ),
    operation(
        "POST",
        "/api/v1/monitors/{tenant}/{name}/pause",
        &[],
        "Ordered",
        &[400, 404, 409],
    )
    .taking("Said"),
    operation(
        "POST",
        "/api/v1/monitors/{tenant}/{name}/resume",
        &[],
        "Changed",
        &[404, 409],
    ),
    operation(
        "POST",
        "/api/v1/monitors/{tenant}/{name}/check",
        &[],
        "Checking",
        &[404, 409],
    ),
    operation(
        "POST",
        "/api/v1/monitors/{tenant}/{name}/acknowledge",
        &[],
        "Ordered",
        &[400, 404, 409],
    )
    .taking("Said"),
    operation(
        "POST",
        "/api/v1/monitors/{tenant}/{name}/unacknowledge",
        &[],
        "Changed",
        &[404],
    ),
    operation("GET", "/api/v1/pauses", &["tenant"], "Orders", &[400, 404]),
    operation("POST", "/api/v1/pauses", &[], "Order", &[400, 404, 409])
        .taking("NewOrder")
        .making(),
    operation("GET", "/api/v1/pauses/{id}", &[], "Order", &[404]),
    operation("DELETE", "/api/v1/pauses/{id}", &[], "Marked", &[404, 409]),
    operation("GET", "/api/v1/silences", &["tenant"], "Orders", &[400, 404]),
    operation("POST", "/api/v1/silences", &[], "Order", &[400, 404, 409])
        .taking("NewOrder")
        .making(),
    operation("GET", "/api/v1/silences/{id}", &[], "Order", &[404]),
    operation("DELETE", "/api/v1/silences/{id}", &[], "Marked", &[404, 409]),
    operation("GET", "/api/v1/maintenance", &["tenant"], "Orders", &[400, 404]),
    operation("POST", "/api/v1/maintenance", &[], "Order", &[400, 404, 409])
        .taking("NewOrder")
        .making(),
    operation("GET", "/api/v1/maintenance/{id}", &[], "Order", &[404]),
    operation("DELETE", "/api/v1/maintenance/{id}", &[], "Marked", &[404, 409]),
    operation("POST", "/api/v1/heartbeats/{tenant}/{name}", &[], "Heard", &[401]),
    operation("GET", "/api/v1/labels", &[], "Labels", &[]),
    operation(
        "GET",
        "/api/v1/incidents",
        &["open", "tenant", "monitor", "limit", "before"],
        "Incidents",
        &[400, 404],
    ),
    operation("GET", "/api/v1/incidents/{id}", &[], "IncidentStory", &[404]),
    operation(
        "GET",
        "/api/v1/events",
        &["tenant", "limit", "before"],
        "Events",
        &[400, 404],
    ),
    operation("GET", "/api/v1/plugins", &[], "Plugins", &[]),
    operation("GET", "/api/v1/tenants", &[], "Tenants", &[]),
    operation("GET", "/api/v1/stream", &[], "text/event-stream", &[]),
];

/// Parameters, schemas and how tokens are shown.
const COMPONENTS: &str = include_str!("openapi.json");

/// What a route takes and gives.
pub(super) fn of(route: &Route) -> Option<&'static Operation> {
    let mut all = OPERATIONS.iter();
    all.find(|one| (one.method, one.path) == (route.method, route.path))
}

/// `GET /api/v1/openapi.json`.
pub async fn document() -> Result<Response, Problem> {
    made().map(|document| json(&document)).map_err(Problem::internal)
}

/// The document.
///
/// # Errors
/// When the embedded part is no JSON.
pub(super) fn made() -> Result<Value, String> {
    let components: Value = serde_json::from_str(COMPONENTS).map_err(|error| error.to_string())?;
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(route.method.to_lowercase(), told(route));
        }
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "pulse-host",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Errors are problem details of RFC 9457. A token with a tenant sees that tenant only.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": components,
    }))
}

fn told(route: &Route) -> Value {
    let operation = of(route);
    let within = route.path.split('{').skip(1);
    let mut parameters: Vec<Value> = within
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| {
            json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": { "type": "string" },
                "description": "A `/` in it is written %2F.",
            })
        })
        .collect();
    let query = operation.map_or(&[][..], |operation| operation.query);
    parameters.extend(
        query
            .iter()
            .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })),
    );
    let mut responses = Map::new();
    let status = operation.map_or(200, |operation| operation.status);
    responses.insert(status.to_string(), given(operation));
    let refused: &[u16] = match route.access {
        Access::Open | Access::Own => &[],
        _ => &[401, 403],
    };
    let own = operation.map_or(&[][..], |operation| operation.problems);
    for status in refused.iter().chain(own).chain(&[503]) {
        responses.insert(status.to_string(), problem());
    }
    responses.insert("default".to_owned(), problem());
    let mut told = json!({
        "operationId": name_of(route),
        "summary": route.does,
        "parameters": parameters,
        "responses": responses,
    });
    if let Value::Object(told) = &mut told {
        let security = match route.access {
            Access::Open => json!([]),
            Access::Own => json!([{ "heartbeat": [] }]),
            // The configuration may let somebody on this machine in without one.
            Access::Figures | Access::Look => json!([{ "token": [] }, {}]),
            Access::Act | Access::Manage | Access::Rule => json!([{ "token": [] }]),
        };
        told.insert("security".to_owned(), security);
        if let Some(role) = route.access.role() {
            let whose = if route.access.is_for_tenants() {
                ""
            } else {
                " of the whole host"
            };
            told.insert(
                "description".to_owned(),
                format!("Takes the role {}{whose}.", role.name()).into(),
            );
        }
        if let Some(body) = operation
            .map(|operation| operation.body)
            .filter(|body| !body.is_empty())
        {
            let schema = json!({ "$ref": format!("#/components/schemas/{body}") });
            let body = json!({ "required": body != "Said", "content": { "application/json": { "schema": schema } } });
            told.insert("requestBody".to_owned(), body);
        }
    }
    told
}

fn given(operation: Option<&Operation>) -> Value {
    let gives = operation.map_or("", |operation| operation.gives);
    let (media, schema) = if gives.contains('/') {
        (gives, json!({ "type": "string" }))
    } else {
        (
            "application/json",
            json!({ "$ref": format!("#/components/schemas/{gives}") }),
        )
    };
    json!({ "description": "It is done.", "content": { media: { "schema": schema } } })
}

fn problem() -> Value {
    json!({
        "description": "Why not, and what would be right.",
        "content": {
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        },
    })
}

/// `get-monitors-tenant-name-history`.
fn name_of(route: &Route) -> String {
    let path = route.path.trim_start_matches("/api/v1");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    let mut name = route.method.to_lowercase();
    for word in words.filter(|word| !word.is_empty()) {
        name.push('-');
        name.push_str(word);
    }
    name
}
