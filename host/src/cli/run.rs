//! `run`: the host itself.

use super::{Sources, WRONG, progress::Reading};
use crate::{
    app::{self, Listen},
    config::Keep,
    telemetry,
};
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    sources: Sources,
    /// Where API and metrics are served, whatever [host.http] says: an address and a port, or off
    #[arg(long, value_name = "ADDRESS", env = "PULSE_HOST_LISTEN", value_parser = listen)]
    listen: Option<Listen>,
}

/// An address and a port, or `off`.
fn listen(text: &str) -> Result<Listen, String> {
    match text {
        "off" => Ok(Listen::Nowhere),
        address => address
            .parse()
            .map(Listen::At)
            .map_err(|_| "an address and a port, as 127.0.0.1:9273 or [::1]:9273, or off".to_owned()),
    }
}

pub fn run(args: RunArgs) -> Result<ExitCode> {
    telemetry::start(args.sources.log_format, "info");
    let prepared = match app::prepare(args.sources.places(), Keep::Good, &mut Reading::new())? {
        Ok(prepared) => prepared,
        Err(wrong) => {
            eprint!("{}", wrong.text(telemetry::colored(&std::io::stderr())));
            eprintln!("Nothing was started.");
            return Ok(ExitCode::from(WRONG));
        }
    };
    app::run(prepared, args.listen)?;
    Ok(ExitCode::SUCCESS)
}
