//! `schema`: the configuration described for editors.

use super::put;
use crate::config;
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "\
An editor that knows schemas of TOML completes and checks a file whose first line names it:
  #:schema ./pulse-host.schema.json

Example:
  pulse-host schema > pulse-host.schema.json")]
pub struct SchemaArgs {}

pub fn schema(_: &SchemaArgs) -> Result<ExitCode> {
    put(config::published_schema())?;
    Ok(ExitCode::SUCCESS)
}
