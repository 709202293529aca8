//! `plugin list`: every plugin that can be used, and why others can't.

use super::{PluginSources, inspect::to_json, names};
use crate::{
    app,
    cli::{Output, put, put_json, table::table},
};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::{fmt::Write as _, process::ExitCode};

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    sources: PluginSources,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn list(args: &ListArgs) -> Result<ExitCode> {
    let (library, problems) = app::load_for_inspection(args.sources.places())?;
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    match args.output {
        Output::Json => put_json(&json!({
            "plugins": library.iter().map(to_json).collect::<Vec<_>>(),
            "problems": problems,
        }))?,
        Output::Text => {
            let mut rows = vec![["NAME", "VERSION", "KINDS", "NEEDS", "SUMMARY"].map(str::to_owned)];
            rows.extend(library.iter().map(|plugin| {
                [
                    plugin.facts.name.to_string(),
                    plugin.facts.version.clone(),
                    names(plugin.facts.kinds.iter().map(|kind| kind.name())),
                    names(plugin.facts.needs.iter().map(|need| need.name())),
                    plugin.facts.summary.clone(),
                ]
            }));
            let mut text = table(&rows);
            for problem in &problems {
                writeln!(text, "not usable: {problem}")?;
            }
            put(&text)?;
        }
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
