//! `check-config`: everything that is wrong, and nothing started.

use super::{
    Output, Sources, WRONG,
    progress::{Reading, grouped},
    put, put_json,
};
use crate::{app, journal::counted, telemetry};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host check-config --config /etc/pulse-host/
  pulse-host check-config --config - --output json < my.toml
Exit code 0: valid. 2: it is not, and every problem was printed.")]
pub struct CheckConfigArgs {
    #[command(flatten)]
    sources: Sources,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn check_config(args: CheckConfigArgs) -> Result<ExitCode> {
    telemetry::start(args.sources.log_format, "warn");
    let prepared = app::prepare(args.sources.places(), &mut Reading::new())?;
    match (prepared, args.output) {
        (Ok(prepared), Output::Text) => {
            let config = &prepared.config;
            if !config.warnings.is_empty() {
                let color = telemetry::colored(&std::io::stderr());
                eprintln!("{}", config.warnings.render(color));
            }
            let mut text = format!(
                "{} is valid: {}, {}\n",
                prepared.config_path.display(),
                counted(config.monitors.len() as u64, "monitor"),
                counted(prepared.library.iter().count() as u64, "plugin")
            );
            for loaded in &config.loaded {
                text.push_str(&format!(
                    "  {} from {}: {}\n",
                    grouped(loaded.monitors as u64),
                    loaded.file.as_deref().unwrap_or("a list in it"),
                    loaded.name
                ));
            }
            put(&text)?;
        }
        (Ok(prepared), Output::Json) => put_json(&json!({
            "valid": true,
            "config": prepared.config_path,
            "monitors": prepared.config.monitors.len(),
            "targets": prepared.config.loaded.iter().map(|loaded| json!({
                "file": loaded.file,
                "name": loaded.name,
                "monitors": loaded.monitors,
            })).collect::<Vec<_>>(),
            "warnings": prepared.config.warnings,
            "problems": [],
        }))?,
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
