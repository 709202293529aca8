//! `check-config`: everything that is wrong, and nothing started.

use super::{
    Output, Sources, WRONG,
    progress::{Reading, grouped},
    put, put_json,
};
use crate::{
    app,
    config::{Keep, Loaded, TenantState},
    journal::counted,
    telemetry,
};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host check-config --config /etc/pulse-host/
  pulse-host check-config --config - --output json < my.toml
Exit code 0: valid. 2: it is not, or a tenant's is not, and every problem was printed.")]
pub struct CheckConfigArgs {
    #[command(flatten)]
    sources: Sources,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn check_config(args: CheckConfigArgs) -> Result<ExitCode> {
    telemetry::start(args.sources.log_format, "warn");
    let prepared = app::prepare(args.sources.places(), Keep::Nothing, &mut Reading::new())?;
    match (prepared, args.output) {
        (Ok(prepared), Output::Text) => {
            let config = &prepared.config;
            let color = telemetry::colored(&std::io::stderr());
            let tenants = config.tenants.iter().map(|state| &state.warnings);
            for warnings in std::iter::once(&config.warnings).chain(tenants) {
                if !warnings.is_empty() {
                    eprintln!("{}", warnings.render(color));
                }
            }
            if config.tenants.iter().any(is_wrong) {
                eprint!("{}", app::tenants_text(&config.tenants, color));
                return Ok(ExitCode::from(WRONG));
            }
            let mut text = format!(
                "{} is valid: {}, {}\n",
                prepared.config_path.display(),
                counted(config.monitors.len() as u64, "monitor"),
                counted(prepared.library.iter().count() as u64, "plugin")
            );
            tell_lists(&config.loaded, "", &mut text);
            for state in &config.tenants {
                text.push_str(&format!(
                    "  tenant {}: {} in {}\n",
                    state.tenant,
                    counted(state.monitors as u64, "monitor"),
                    state.config
                ));
                tell_lists(&state.loaded, "  ", &mut text);
            }
            put(&text)?;
        }
        (Ok(prepared), Output::Json) => {
            let config = &prepared.config;
            let wrong = config.tenants.iter().any(is_wrong);
            put_json(&json!({
                "valid": !wrong,
                "config": prepared.config_path,
                "monitors": config.monitors.len(),
                "targets": config.loaded.iter().map(list_json).collect::<Vec<_>>(),
                "tenants": config.tenants.iter().map(tenant_json).collect::<Vec<_>>(),
                "warnings": config.warnings,
                "problems": app::tenants_json(&config.tenants),
            }))?;
            if wrong {
                return Ok(ExitCode::from(WRONG));
            }
        }
        (Err(wrong), Output::Text) => {
            eprint!("{}", wrong.text(telemetry::colored(&std::io::stderr())));
            return Ok(ExitCode::from(WRONG));
        }
        (Err(wrong), Output::Json) => {
            put_json(&json!({ "valid": false, "warnings": [], "problems": wrong.json() }))?;
            return Ok(ExitCode::from(WRONG));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_wrong(state: &TenantState) -> bool {
    state.standing.problems().is_some()
}

fn tell_lists(lists: &[Loaded], indent: &str, text: &mut String) {
    for loaded in lists {
        text.push_str(&format!(
            "{indent}  {} from {}: {}\n",
            grouped(loaded.monitors as u64),
            loaded.file.as_deref().unwrap_or("a list in it"),
            loaded.name
        ));
    }
}

fn list_json(loaded: &Loaded) -> Value {
    json!({
        "file": loaded.file,
        "name": loaded.name,
        "monitors": loaded.monitors,
    })
}

fn tenant_json(state: &TenantState) -> Value {
    json!({
        "name": state.tenant.name,
        "config": state.config,
        "monitors": state.monitors,
        "standing": state.standing.to_string(),
        "targets": state.loaded.iter().map(list_json).collect::<Vec<_>>(),
        "warnings": state.warnings,
    })
}
