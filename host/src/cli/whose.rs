//! Which host is meant: the one that runs, or has run, with a certain data directory.

use super::{Sources, WRONG, progress::Reading};
use crate::{app, config::Keep, telemetry};
use anyhow::Result;
use clap::Args;
use std::{path::PathBuf, process::ExitCode};

/// Whose data directory.
#[derive(Debug, Args)]
pub struct Whose {
    #[command(flatten)]
    sources: Sources,
    /// The data directory [default: what the configuration says]
    #[arg(long, value_name = "DIR", env = "PULSE_HOST_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

impl Whose {
    /// The data directory, or the exit code of a configuration that is wrong.
    pub fn data_dir(self) -> Result<Result<PathBuf, ExitCode>> {
        telemetry::start(self.sources.log_format, "warn");
        if let Some(data_dir) = self.data_dir {
            return Ok(Ok(data_dir));
        }
        Ok(
            match app::prepare(self.sources.places(), Keep::Nothing, &mut Reading::new())? {
                Ok(prepared) => Ok(prepared.config.host.data_dir),
                Err(wrong) => {
                    eprint!("{}", wrong.text(telemetry::colored(&std::io::stderr())));
                    Err(ExitCode::from(WRONG))
                }
            },
        )
    }
}
