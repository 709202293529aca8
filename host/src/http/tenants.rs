//! Tenants: what they may use, and what they have used.

use super::{App, reply::json, tokens::Caller};
use crate::domain::tenant::{Quotas, Tenant, Used};
use axum::{Extension, extract::State as Shared, response::Response};
use serde_json::{Map, Value, json};

/// `GET /api/v1/tenants`.
pub async fn index(Shared(app): Shared<App>, Extension(caller): Extension<Caller>) -> Response {
    let (deal, directory) = (app.terms.present(), app.directory.present());
    let told = |tenant: &Tenant| {
        let terms = deal.tenants.get(&tenant.name);
        json!({
            "name": &*tenant.name,
            "monitors": directory.of_tenant(&tenant.name).len(),
            "standing": terms.map(|terms| &terms.standing),
            "plugins": terms.map(|terms| &terms.plugins),
            "quota": quotas(&tenant.quotas),
            "used": used(&tenant.account.used()),
        })
    };
    let tenants: Vec<Value> = app
        .tenants
        .all()
        .iter()
        .filter(|tenant| caller.may_see(&tenant.name))
        .map(|tenant| told(tenant))
        .collect();
    json(&json!({ "tenants": tenants }))
}

/// Those that there are, by name.
#[must_use]
pub fn quotas(quotas: &Quotas) -> Map<String, Value> {
    let all = [
        ("monitors", quotas.monitors.map(Value::from)),
        ("in_flight", quotas.in_flight.map(Value::from)),
        (
            "cpu_seconds_per_second",
            quotas.cpu_per_second.map(|span| span.as_secs_f64().into()),
        ),
        ("memory_bytes", quotas.memory_bytes.map(Value::from)),
        ("connections", quotas.connections.map(Value::from)),
        ("commands", quotas.commands.map(Value::from)),
        ("requests_per_second", quotas.requests_per_second.map(Value::from)),
        ("bytes_per_second", quotas.bytes_per_second.map(Value::from)),
        ("codes_per_hour", quotas.codes_per_hour.map(Value::from)),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

fn used(used: &Used) -> Value {
    json!({
        "jobs": used.jobs,
        "fuel": used.fuel,
        "cpu_seconds": used.cpu.as_secs_f64(),
        "memory_byte_seconds": used.memory_byte_ms as f64 / 1000.0,
        "requests": used.requests,
        "sent_bytes": used.bytes_sent,
        "received_bytes": used.bytes_received,
        "denials": used.denials,
        "held": used.held,
        "connections": used.connections,
    })
}
