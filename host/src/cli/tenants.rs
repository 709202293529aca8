//! `tenants`: who has monitors here, on which terms, and what each has used.

use super::{Output, Sources, WRONG, progress::Reading, put, put_json, table::table};
use crate::{
    app::{self, Amounts, Figures},
    clock::Clock,
    config::{Config, Keep, TenantState},
    domain::tenant::{DEFAULT, Quotas},
    http, telemetry,
};
use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host tenants --config /etc/pulse-host/
  pulse-host tenants --output json
What was used is what a running host leaves in its data directory every ten seconds.")]
pub struct TenantsArgs {
    #[command(flatten)]
    sources: Sources,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn tenants(args: TenantsArgs) -> Result<ExitCode> {
    telemetry::start(args.sources.log_format, "warn");
    let color = telemetry::colored(&std::io::stderr());
    let config = match app::prepare(args.sources.places(), Keep::Nothing, &mut Reading::new())? {
        Ok(prepared) => prepared.config,
        Err(wrong) => {
            eprint!("{}", wrong.text(color));
            return Ok(ExitCode::from(WRONG));
        }
    };
    let data_dir = &config.host.data_dir;
    let figures = app::figures(data_dir)
        .with_context(|| format!("the figures in {} can't be read", data_dir.display()))?;
    match args.output {
        Output::Text => {
            put(&shown(&config, figures.as_ref(), &Clock::system()))?;
            eprint!("{}", app::tenants_text(&config.tenants, color));
        }
        Output::Json => put_json(&to_json(&config, figures.as_ref(), &Clock::system()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(config: &Config, figures: Option<&Figures>, clock: &Clock) -> String {
    let all: usize = config.tenants.iter().map(|state| state.monitors).sum();
    let own = config.monitors.len().saturating_sub(all);
    let mut rows = vec![
        ["TENANT", "CONFIGURATION", "MONITORS", "PLUGINS", "QUOTAS"].map(str::to_owned),
        [
            DEFAULT.to_owned(),
            "the operator's".to_owned(),
            own.to_string(),
            "all".to_owned(),
            "none".to_owned(),
        ],
    ];
    rows.extend(config.tenants.iter().map(|state| {
        [
            state.tenant.to_string(),
            state.standing.to_string(),
            state.monitors.to_string(),
            or_none(state.plugins.join(", ")),
            or_none(quotas(&state.tenant.quotas).join(", ")),
        ]
    }));
    let mut text = table(&rows);
    let Some(figures) = figures else {
        text.push_str("\nNo running host has left figures of what was used.\n");
        return text;
    };
    let head = [
        "TENANT", "JOBS", "CPU TIME", "FUEL", "MEMORY", "REQUESTS", "SENT", "RECEIVED", "DENIALS", "HELD",
        "OPEN",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let names = std::iter::once(DEFAULT).chain(config.tenants.iter().map(|state| &*state.tenant.name));
    rows.extend(names.filter_map(|name| {
        let used = figures.tenants.get(name)?;
        Some([
            name.to_owned(),
            used.jobs.to_string(),
            format!("{:.1} s", used.cpu_seconds),
            used.fuel.to_string(),
            format!("{:.1} MiB·s", used.memory_byte_seconds / f64::from(1 << 20)),
            used.requests.to_string(),
            format!("{} KiB", used.sent_bytes.div_ceil(1024)),
            format!("{} KiB", used.received_bytes.div_ceil(1024)),
            used.denials.to_string(),
            used.held.to_string(),
            used.connections.to_string(),
        ])
    }));
    text.push_str(&format!(
        "\nUsed since the host started (figures of {} ago):\n\n{}",
        app::shown_age(figures.age(clock)),
        table(&rows)
    ));
    text
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

/// As they are written in a configuration.
fn quotas(quotas: &Quotas) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: Option<String>| {
        all.extend(value.map(|value| format!("{name} = {value}")));
    };
    add("monitors", quotas.monitors.map(|count| count.to_string()));
    add("in-flight", quotas.in_flight.map(|count| count.to_string()));
    add("cpu", quotas.cpu_per_second.map(|span| format!("{span:?} per s")));
    add(
        "memory",
        quotas
            .memory_bytes
            .map(|bytes| format!("{} KiB", bytes.div_ceil(1024))),
    );
    add("connections", quotas.connections.map(|count| count.to_string()));
    add("commands", quotas.commands.map(|count| count.to_string()));
    add(
        "requests-per-second",
        quotas.requests_per_second.map(|count| count.to_string()),
    );
    add(
        "bytes-per-second",
        quotas
            .bytes_per_second
            .map(|bytes| format!("{} KiB", bytes.div_ceil(1024))),
    );
    add(
        "codes-per-hour",
        quotas.codes_per_hour.map(|count| count.to_string()),
    );
    all
}

fn to_json(config: &Config, figures: Option<&Figures>, clock: &Clock) -> Value {
    let used = |name: &str| -> Option<&Amounts> { figures?.tenants.get(name) };
    let all: usize = config.tenants.iter().map(|state| state.monitors).sum();
    let own = json!({
        "name": DEFAULT,
        "monitors": config.monitors.len().saturating_sub(all),
        "used": used(DEFAULT),
    });
    let tenant = |state: &TenantState| {
        json!({
            "name": state.tenant.name,
            "config": state.config,
            "standing": state.standing.to_string(),
            "monitors": state.monitors,
            "plugins": state.plugins,
            "quotas": http::quotas(&state.tenant.quotas),
            "problems": state.standing.problems(),
            "used": used(&state.tenant.name),
        })
    };
    let tenants: Vec<Value> = std::iter::once(own)
        .chain(config.tenants.iter().map(tenant))
        .collect();
    json!({
        "figures_age_seconds": figures.map(|figures| figures.age(clock).as_secs_f64()),
        "tenants": tenants,
    })
}
