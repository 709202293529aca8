//! `check-config`: everything that is wrong, and nothing started.

use super::{Output, Sources, WRONG, print_json};
use crate::{app, telemetry};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host check-config --config /etc/pulse-host/
  pulse-host check-config --output json < /dev/null
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
    let prepared = app::prepare(&args.sources.plugins, args.sources.config.as_deref())?;
    match (prepared, args.output) {
        (Ok(prepared), Output::Text) => {
            let config = &prepared.config;
            eprint!(
                "{}",
                config.warnings.render(telemetry::colored(&std::io::stderr()))
            );
            println!(
                "{} is valid: {} monitors, {} plugins",
                prepared.config_path.display(),
                config.monitors.len(),
                prepared.library.iter().count()
            );
        }
        (Ok(prepared), Output::Json) => print_json(&json!({
            "valid": true,
            "config": prepared.config_path,
            "monitors": prepared.config.monitors.len(),
            "warnings": prepared.config.warnings,
            "problems": [],
        }))?,
        (Err(wrong), Output::Text) => {
            eprint!("{}", wrong.text(telemetry::colored(&std::io::stderr())));
            return Ok(ExitCode::from(WRONG));
        }
        (Err(wrong), Output::Json) => {
            print_json(&json!({ "valid": false, "problems": wrong.json() }))?;
            return Ok(ExitCode::from(WRONG));
        }
    }
    Ok(ExitCode::SUCCESS)
}
