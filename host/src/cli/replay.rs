//! `replay`: what happened, once more and offline: a recording of `plugin test --record`, or the trace that the host
//! kept of the execution which opened an incident.

use super::{Output, plugin::test, put, put_json};
use crate::{app::Trial, cases, plugins};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host replay /var/lib/pulse-host/traces/default-shop-18f2.toml
  pulse-host replay trace.toml --plugin ./http/http.wasm
The plugin is found by the digest that stands in the recording.
Exit code 0: it came out the same. 1: it did not.")]
pub struct ReplayArgs {
    /// The recording
    file: PathBuf,
    /// Folder with plugins, or a single plugin; may be given more than once
    #[arg(
        long,
        value_name = "PATH",
        env = "PULSE_HOST_PLUGINS",
        value_delimiter = ',',
        default_value = "./plugins"
    )]
    plugins: Vec<PathBuf>,
    /// Replay with this component or plugin's folder, whatever its digest
    #[arg(long, value_name = "PATH")]
    plugin: Option<PathBuf>,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn replay(args: &ReplayArgs) -> Result<ExitCode> {
    crate::telemetry::start(crate::telemetry::LogFormat::Text, "warn,plugin=off");
    let path = match &args.plugin {
        Some(path) => path.clone(),
        None => find(&args.file, &args.plugins)?,
    };
    let report = test::run_all(&path, Trial::load(&path, 0)?, std::slice::from_ref(&args.file))?;
    match args.output {
        Output::Text => put(&report.shown()?)?,
        Output::Json => put_json(&report.to_json())?,
    }
    Ok(report.code())
}

/// The component that was recorded.
fn find(file: &Path, folders: &[PathBuf]) -> Result<PathBuf> {
    let recorded = cases::recorded_in(file).map_err(|error| anyhow!("{}", error.trim_end()))?;
    let (candidates, _) = plugins::candidates(folders);
    let mut others = Vec::new();
    for found in candidates
        .into_iter()
        .filter_map(|candidate| candidate.read().ok())
    {
        if found.digest.as_str() == recorded.digest {
            return Ok(found.path);
        }
        if found
            .manifest
            .is_some_and(|manifest| manifest.name == recorded.plugin)
        {
            others.push(format!("{} is sha256:{}", found.path.display(), found.digest));
        }
    }
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(
            "; {}. With --plugin PATH it is replayed all the same",
            others.join(", ")
        )
    };
    bail!(
        "no plugin has the digest that was recorded: {} {} is sha256:{}{others}",
        recorded.plugin,
        recorded.version,
        recorded.digest
    )
}
