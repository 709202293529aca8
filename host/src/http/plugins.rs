//! Plugins: what they are, what they may reach, and how they fare.

use super::{
    App,
    problem::Problem,
    reply::{json, when},
    tokens::Caller,
};
use crate::{
    domain::{
        spec::Kind,
        tenant::DEFAULT,
        time::{millis, nanos},
    },
    plugins::Reach,
    sandbox::Plugin,
    scheduler::view::PluginUse,
};
use axum::{Extension, extract::State as Shared, response::Response};
use serde_json::{Map, Value, json};

/// `GET /api/v1/plugins`.
pub async fn index(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let used = app.control.plugins().await?;
    let deal = app.terms.present();
    let own = caller.tenant.as_deref();
    let may_use = own.and_then(|own| deal.tenants.get(own));
    let library = app.plugins.library();
    let plugins: Vec<Value> = library
        .iter()
        .filter(|plugin| {
            let name = &*plugin.facts.name;
            own.is_none_or(|own| {
                owner(name) == own || may_use.is_some_and(|terms| terms.plugins.iter().any(|one| one == name))
            })
        })
        .map(|plugin| {
            let name = &*plugin.facts.name;
            // What the operator is granted himself is no tenant's business.
            let granted = deal.profiles.get(name);
            let granted = granted.filter(|_| own.is_none_or(|own| owner(name) == own));
            let users = used
                .users
                .iter()
                .filter(|user| *user.seen.digest == *plugin.facts.digest && *user.seen.plugin == *name)
                .filter(|user| own.is_none_or(|own| *user.seen.tenant == *own));
            told(
                plugin,
                granted.map(|profile| Reach::granted(&profile.grants)),
                users,
            )
        })
        .collect();
    Ok(json(&json!({
        "window_ms": used.window.map(millis),
        "plugins": plugins,
    })))
}

/// Whose it is: a tenant's own have its name before theirs.
fn owner(name: &str) -> &str {
    name.split_once('/').map_or(DEFAULT, |(owner, _)| owner)
}

fn told<'u>(plugin: &Plugin, granted: Option<Reach>, users: impl Iterator<Item = &'u PluginUse>) -> Value {
    let facts = &plugin.facts;
    let (mut jobs, mut faults, mut quarantined) = (0, 0, false);
    let users: Vec<Value> = users
        .map(|user| {
            let seen = &user.seen;
            jobs += u64::from(seen.well) + u64::from(seen.sick);
            faults += u64::from(seen.sick);
            quarantined |= seen.shut.is_some();
            let costs = Kind::ALL.into_iter().filter_map(|kind| {
                let cost = (*user.costs.get(kind))?;
                Some((kind.name().to_owned(), (nanos(cost) / 1000).into()))
            });
            json!({
                "tenant": &*seen.tenant,
                "jobs": u64::from(seen.well) + u64::from(seen.sick),
                "faults": seen.sick,
                "cost_us": costs.collect::<Map<String, Value>>(),
                "quarantine": seen.shut.as_ref().map(|shut| json!({
                    "reason": &*shut.reason,
                    "tried_at": user.tried_at.map(|at| when(at.0)),
                    "held": shut.held,
                })),
            })
        })
        .collect();
    json!({
        "name": &*facts.name,
        "tenant": owner(&facts.name),
        "version": facts.version,
        "summary": facts.summary,
        "kinds": facts.kinds.iter().copied().map(Kind::name).collect::<Vec<_>>(),
        "abi": format!("pulse:plugin@{}", plugin.abi()),
        "digest": format!("sha256:{}", plugin.digest),
        "size_bytes": plugin.size_bytes,
        "imports": plugin.imports,
        "needs": facts.needs.iter().map(|need| need.name()).collect::<Vec<_>>(),
        "requests": plugin.requests,
        "grants": granted,
        "jobs": jobs,
        "faults": faults,
        "quarantined": quarantined,
        "users": users,
    })
}
