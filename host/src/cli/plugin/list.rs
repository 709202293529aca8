//! `plugin list`: every plugin that can be used, and why others can't.

use super::{PluginSources, inspect::to_json, names};
use crate::{
    app,
    cli::{Output, put, put_json},
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
            let rows: Vec<[String; 5]> = library
                .iter()
                .map(|plugin| {
                    [
                        plugin.facts.name.to_string(),
                        plugin.facts.version.clone(),
                        names(plugin.facts.kinds.iter().map(|kind| kind.name())),
                        names(plugin.facts.needs.iter().map(|need| need.name())),
                        plugin.facts.summary.clone(),
                    ]
                })
                .collect();
            let mut text = table(["NAME", "VERSION", "KINDS", "NEEDS", "SUMMARY"], &rows);
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

fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &[&str]| {
        let cells: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    };
    line(&head);
    for row in rows {
        line(&row.each_ref().map(String::as_str));
    }
    text
}
