//! `plugin verify`: whether all plugins are as they are locked. Changes nothing.

use super::{
    PluginSources,
    lock::{problems, records, show},
};
use crate::{
    app,
    cli::{Output, put, put_json},
    journal::counted,
    plugins::lock::{Comparison, State, compare},
};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use std::{fmt::Write as _, process::ExitCode};

pub const EXAMPLES: &str = "\
Examples:
  pulse-host plugin verify --plugins ./plugins --config /etc/pulse-host/
  pulse-host plugin verify --output json
Exit code 0: every plugin is as it is locked, and every locked plugin is there. 1: something differs.";

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    sources: PluginSources,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let survey = app::survey(args.sources.places())?;
    let path = survey.lock.path().display();
    if !survey.lock.exists() {
        bail!("there is no lock at {path}; `pulse-host plugin lock` makes one, --lock names another");
    }
    let comparisons = compare(&survey.lock.records, &records(&survey));
    let differing: Vec<&Comparison> = comparisons
        .iter()
        .filter(|one| one.state != State::Same)
        .collect();
    match args.output {
        Output::Json => put_json(&json!({
            "lock": survey.lock.path(),
            "plugins": comparisons,
            "problems": problems(&survey),
        }))?,
        Output::Text => {
            let mut text = String::new();
            for one in &differing {
                show(&mut text, one, false)?;
            }
            for problem in &survey.problems {
                writeln!(text, "not usable: {problem}")?;
            }
            let same = comparisons.len() - differing.len();
            writeln!(text, "{} as locked in {path}", counted(same as u64, "plugin"))?;
            put(&text)?;
        }
    }
    Ok(if differing.is_empty() && survey.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
