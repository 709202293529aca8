//! `plugin verify`: whether all plugins are as they are locked; or whether one is what its author says. Changes nothing.

use super::{
    PluginSources,
    lock::{problems, records, show},
};
use crate::{
    app,
    cli::{
        Output,
        paint::{GREEN, Paint, RED},
        put, put_json,
    },
    journal::counted,
    plugins::lock::{Comparison, State, compare},
    telemetry,
};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

pub const EXAMPLES: &str = "\
Examples:
  pulse-host plugin verify ./fetch                  look at one plugin, before anybody uses it
  pulse-host plugin verify --plugins ./plugins --config /etc/pulse-host/
  pulse-host plugin verify --output json
With a PATH: whether the component loads, agrees with its manifest, describes itself always alike,
and answers any settings in an ordinary way. Without: whether all plugins are as they are locked.
Exit code 0: every check is ok, or every plugin is as it is locked and every locked plugin is there.
1: something is not.";

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The folder of a plugin, or a component: look at that one, whatever the lock says
    path: Option<PathBuf>,
    #[command(flatten)]
    sources: PluginSources,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    if let Some(path) = &args.path {
        return look_at(path, args.output);
    }
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

/// One plugin, check by check.
fn look_at(path: &Path, output: Output) -> Result<ExitCode> {
    let checks = app::verify(path)?;
    let ok = checks.iter().all(|check| check.ok);
    match output {
        Output::Json => put_json(&json!({
            "ok": ok,
            "checks": checks
                .iter()
                .map(|check| json!({ "name": check.name, "ok": check.ok, "found": check.found }))
                .collect::<Vec<_>>(),
        }))?,
        Output::Text => {
            let on = telemetry::stdout_colored();
            let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
            let mut text = String::new();
            for check in &checks {
                let (word, code) = if check.ok {
                    ("ok    ", GREEN)
                } else {
                    ("failed", RED)
                };
                let word = Paint { text: word, code, on };
                writeln!(text, "{word}  {:width$}  {}", check.name, check.found)?;
            }
            put(&text)?;
        }
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
