//! `GET /probe`: one check of a target that the request names, as Prometheus' blackbox exporter does it.
//!
//! A failure of the target is an answer, with `probe_success 0`. Trouble of the prober is none: it is a problem with status
//! 503, so that a scraper's own `up` is 0 and nobody is told that the target is down.

use super::{App, exposed, exposition::Text, problem::Problem, reply::query, tokens::Caller};
use crate::{
    capability::log::{Line, escaped},
    cases::secrets,
    config,
    domain::{
        job::{Job, JobResult},
        outcome::Outcome,
        probe::{Ask, Module},
        secret::{self, Secrets},
        spec::MonitorSpec,
        tenant::{DEFAULT, Tenant},
    },
    sandbox::{PROBES_MAX, PROBES_OF_TENANT_MAX},
};
use axum::{
    Extension,
    extract::State as Shared,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What Prometheus says of its own patience.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// The answer takes a while to travel, too.
const TRAVEL: Duration = Duration::from_millis(500);
/// A line of what is told beside figures.
const LINE_BYTES_MAX: usize = 4096;
/// Names that modules have in the configuration that comes with the exporter.
const ALIASES: [(&str, &str); 2] = [("http_2xx", "http"), ("tcp_connect", "tcp")];
/// What the exporter does where nobody says what to do.
const USUAL: &str = "http_2xx";

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    target: Option<String>,
    module: Option<String>,
    hostname: Option<String>,
    debug: bool,
}

/// What became of probes.
#[derive(Debug, Default)]
pub struct Probes {
    up: AtomicU64,
    down: AtomicU64,
    fault: AtomicU64,
    refused: AtomicU64,
}

impl Probes {
    /// How many there were, by what became of them.
    pub fn figures(&self) -> [(&'static str, u64); 4] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("success", of(&self.up)),
            ("failure", of(&self.down)),
            ("fault", of(&self.fault)),
            ("refused", of(&self.refused)),
        ]
    }
}

/// `GET /probe`.
pub async fn probe(
    Shared(app): Shared<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let wanted: Wanted = query(&uri)?;
    let module = module(&app, &caller, wanted.module.as_deref().unwrap_or(USUAL))?;
    let target = wanted
        .target
        .as_deref()
        .ok_or_else(|| Problem::bad("target: name what is to be probed"))?;
    let ask = Ask {
        target,
        hostname: wanted.hostname.as_deref(),
    };
    let timeout = patience(&headers, module.timeout, app.settings.timeout)?;
    let settings = module.settings(ask).map_err(Problem::bad)?;
    let spec = spec(&app, &caller, &module, &settings, timeout)?;
    let tenant = Arc::clone(&spec.tenant);
    if app.stopping.load(Ordering::Acquire) {
        return Err(Problem::busy("the host is stopping"));
    }
    let Some(prober) = &app.prober else {
        return Err(Problem::busy("this host runs no probes"));
    };
    let most = match &caller.tenant {
        None => PROBES_MAX,
        Some(_) => tenant
            .quotas
            .in_flight
            .map_or(PROBES_OF_TENANT_MAX, |quota| quota.min(PROBES_OF_TENANT_MAX)),
    };
    let Some(place) = prober.place(&tenant.name, most) else {
        app.probes.refused.fetch_add(1, Ordering::Relaxed);
        return Err(Problem::busy(format!(
            "as many probes run as may at the same time: {PROBES_MAX} in all, and {most} of yours"
        )));
    };
    let job = Job::alone(spec, app.clock.mono(), app.clock.wall());
    let began = job.due_wall;
    let (result, log) = prober
        .run(place, job)
        .await
        .ok_or_else(|| Problem::internal("the probe came to no end"))?;
    let usage = &result.usage;
    tenant
        .account
        .add_job(usage.fuel, usage.cpu, usage.peak_memory_bytes, usage.wall);
    app.control.spent(&tenant.name, usage.cpu);
    let verdict = result.outcome.verdict();
    let count = match verdict {
        None => &app.probes.fault,
        Some(crate::domain::outcome::Status::Unhealthy) => &app.probes.down,
        Some(_) => &app.probes.up,
    };
    count.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(
        module = &*module.name,
        tenant = &*tenant.name,
        outcome = result.outcome.class(),
        took = ?usage.wall,
        "probe"
    );
    let mut text = Text::default();
    if wanted.debug {
        tell(&result, &log, &mut text);
    }
    let status = match verdict {
        Some(_) => {
            exposed::write(&result.outcome, usage.wall, began, &mut text);
            StatusCode::OK
        }
        None if wanted.debug => StatusCode::SERVICE_UNAVAILABLE,
        None => return Err(fault(&result.outcome)),
    };
    Ok((
        status,
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text.finish(),
    )
        .into_response())
}

/// The module of that name, of those that are for the caller. A tenant has what plugins do by themselves, as far as it may
/// use them: what the operator has written into modules of his own may be what only he may send.
fn module(app: &App, caller: &Caller, name: &str) -> Result<Arc<Module>, Problem> {
    let deal = app.terms.present();
    let none = BTreeMap::new();
    let modules = match &caller.tenant {
        None => &deal.modules,
        Some(tenant) => deal.tenants.get(tenant).map_or(&none, |terms| &terms.modules),
    };
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let found = modules
        .get(name)
        .or_else(|| modules.get(alias.map(|(_, meant)| *meant)?));
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = modules.keys().map(AsRef::as_ref).take(50).collect();
        let known = match names.as_slice() {
            [] => "there is no module at all".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        let name = escaped(name, 128);
        Problem::bad(format!("module: there is none of the name `{name}`; {known}"))
    })
}

/// How long the check may take: what the module says, and what the scraper and this server wait for at most.
fn patience(headers: &HeaderMap, module: Duration, server: Duration) -> Result<Duration, Problem> {
    let within = |most: Duration| most.saturating_sub(TRAVEL).max(most / 2);
    let mut timeout = module.min(within(server));
    if let Some(value) = headers.get(SCRAPE_TIMEOUT) {
        let seconds = value
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse::<f64>().ok());
        let span = seconds
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| Problem::bad(format!("{SCRAPE_TIMEOUT}: a number of seconds, above 0")))?;
        timeout = timeout.min(within(span));
    }
    Ok(timeout.max(Duration::from_millis(1)))
}

/// The check, which no log line and no report of shows what nobody may read of the module's settings.
fn spec(
    app: &App,
    caller: &Caller,
    module: &Module,
    settings: &Value,
    timeout: Duration,
) -> Result<MonitorSpec, Problem> {
    let busy = || Problem::busy("plugins are being replaced");
    let library = app.plugins.library();
    let facts = &library.named(&module.profile.plugin).ok_or_else(busy)?.facts;
    let name = caller.tenant.as_deref().unwrap_or(DEFAULT);
    let tenants = app.tenants.all();
    let tenant = tenants.iter().find(|tenant| &*tenant.name == name);
    let tenant = tenant.cloned().unwrap_or_else(|| Arc::new(Tenant::unlimited()));
    let tenant = match &caller.tenant {
        Some(_) => tenant,
        None => Arc::new(Tenant {
            name: Arc::clone(&tenant.name),
            quotas: tenant.quotas,
            account: Arc::clone(&tenant.account),
            secrets: Arc::new(hidden(module, &facts.schema, settings)?),
        }),
    };
    let wrong = config::wrong_settings(facts, settings).map_err(Problem::internal)?;
    if !wrong.is_empty() {
        let texts: Vec<String> = wrong.into_iter().map(|wrong| wrong.text).collect();
        let text = tenant.secrets.redact(&texts.join("; ")).into_owned();
        return Err(Problem::bad(text));
    }
    let settings = settings.to_string();
    let profile = Arc::clone(&module.profile);
    Ok(MonitorSpec::alone_of(
        tenant,
        &module.name,
        profile,
        &settings,
        timeout,
    ))
}

fn hidden(module: &Module, schema: &Value, settings: &Value) -> Result<Secrets, Problem> {
    let mut values = secrets::marked(schema, settings);
    // Such as what stands behind `Bearer`, too.
    let words = |text: &'_ str| -> Vec<Box<str>> {
        let mut all = vec![text.into()];
        if !text.contains('\n') {
            all.extend(text.split_whitespace().map(Into::into));
        }
        all
    };
    let from_outside = module.hidden.iter().flat_map(|text| words(text));
    for (number, text) in from_outside.enumerate() {
        if secret::wrong(&text).is_none() {
            values.insert(format!("hidden.{number}").into(), text);
        }
    }
    Secrets::new(values).map_err(Problem::internal)
}

fn fault(outcome: &Outcome) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no-verdict",
        "The check came to no verdict on its target",
        format!("{}: {outcome}", outcome.class()),
    )
}

/// What happened, as comments, which a scraper passes over.
fn tell(result: &JobResult, log: &[Line], text: &mut Text) {
    let outcome = &result.outcome;
    let mut said = String::new();
    let verdict = outcome.verdict().map_or("unknown", |status| status.name());
    // Writing to a text can't fail.
    let _ = writeln!(said, "outcome: {}", outcome.class());
    let _ = writeln!(said, "status: {verdict}");
    let _ = writeln!(said, "summary: {}", escaped(&outcome.to_string(), LINE_BYTES_MAX));
    for line in log {
        let _ = writeln!(said, "log {}: {}", line.level.name(), line.message);
    }
    let usage = &result.usage;
    let _ = writeln!(
        said,
        "used: {:.1?}, of which {:.1?} of CPU time; {} fuel, {} KiB of memory",
        usage.wall,
        usage.cpu,
        usage.fuel,
        usage.peak_memory_bytes.div_ceil(1024)
    );
    for line in said.lines() {
        text.comment(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_takes_no_longer_than_anybody_waits() {
        let s = Duration::from_secs_f64;
        let asked = |value: Option<&str>, module: f64, server: f64| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(SCRAPE_TIMEOUT, value.parse().unwrap());
            }
            patience(&headers, s(module), s(server)).map_err(|problem| format!("{problem:?}"))
        };
        for (value, module, server, expected) in [
            (None, 5.0, 30.0, 5.0),
            (Some("10"), 5.0, 30.0, 5.0),
            (Some("3"), 5.0, 30.0, 2.5),
            (Some("0.4"), 5.0, 30.0, 0.2),
            (Some("100"), 60.0, 30.0, 29.5),
        ] {
            assert_eq!(asked(value, module, server), Ok(s(expected)), "{value:?}");
        }
        for wrong in ["", "x", "0", "-1", "NaN", "1e300"] {
            let said = asked(Some(wrong), 5.0, 30.0).unwrap_err();
            assert!(said.contains("a number of seconds"), "{wrong}: {said}");
        }
    }
}
