//! `run`: the host itself.

use super::{Sources, WRONG, progress::Reading};
use crate::{app, config::Keep, telemetry};
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    sources: Sources,
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
    app::run(prepared)?;
    Ok(ExitCode::SUCCESS)
}
