//! `plugin`: what plugins there are, and what each is.

use super::{
    Output,
    paint::{BOLD, Paint},
    put, put_json,
};
use crate::{
    app,
    domain::{plugin::Capability, spec::Kind},
    sandbox::Plugin,
    telemetry::{self, LogFormat},
};
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the plugins that can be used, and say why others can't
    List(ListArgs),
    /// Show everything about one plugin: kinds, imports, the grants it needs, settings, size, digest
    #[command(after_help = "\
Examples:
  pulse-host plugin inspect http
  pulse-host plugin inspect ./my-check.wasm --output json")]
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Folder with plugins, or a single plugin; may be given more than once
    #[arg(
        long,
        value_name = "PATH",
        env = "PULSE_HOST_PLUGINS",
        value_delimiter = ',',
        default_value = "./plugins"
    )]
    plugins: Vec<PathBuf>,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Name of a plugin in the plugins folder, or path of a component or of a plugin's folder
    plugin: String,
    /// Folder with plugins, or a single plugin; may be given more than once
    #[arg(
        long,
        value_name = "PATH",
        env = "PULSE_HOST_PLUGINS",
        value_delimiter = ',',
        default_value = "./plugins"
    )]
    plugins: Vec<PathBuf>,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn plugin(command: PluginCommand) -> Result<ExitCode> {
    telemetry::start(LogFormat::Text, "warn");
    match command {
        PluginCommand::List(args) => list(&args),
        PluginCommand::Inspect(args) => inspect(&args),
    }
}

fn list(args: &ListArgs) -> Result<ExitCode> {
    let (library, problems) = app::load_for_inspection(&args.plugins)?;
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

fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    let plugin = app::inspect(&args.plugins, &args.plugin)?;
    match args.output {
        Output::Json => put_json(&to_json(&plugin))?,
        Output::Text => put(&shown(&plugin)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(plugin: &Plugin) -> Result<String> {
    let mut text = String::new();
    let out = &mut text;
    let facts = &plugin.facts;
    let on = telemetry::stdout_colored();
    let name = Paint {
        text: &facts.name,
        code: BOLD,
        on,
    };
    writeln!(out, "{name} {}: {}", facts.version, facts.summary)?;
    writeln!(out, "  file     {}", plugin.path.display())?;
    writeln!(out, "  size     {} bytes", plugin.size_bytes)?;
    writeln!(out, "  digest   sha256:{}", plugin.digest)?;
    writeln!(out, "  abi      pulse:plugin@{}", plugin.abi())?;
    let kinds = names(facts.kinds.iter().map(|kind| kind.name()));
    writeln!(out, "  kinds    {kinds}")?;
    writeln!(out, "  imports")?;
    for import in &plugin.imports {
        writeln!(out, "    {import}")?;
    }
    if facts.needs.is_empty() {
        writeln!(out, "  needs no grants")?;
    } else {
        writeln!(out, "  needs these grants, for example")?;
        writeln!(out, "    [plugins.{}]", facts.name)?;
        for line in grants(&facts.needs) {
            writeln!(out, "    {line}")?;
        }
    }
    writeln!(out, "  settings (JSON Schema)")?;
    for line in serde_json::to_string_pretty(&*facts.schema)?.lines() {
        writeln!(out, "    {line}")?;
    }
    Ok(text)
}

/// The lines of `[plugins.NAME]` that such needs ask for.
fn grants(needs: &[Capability]) -> Vec<&'static str> {
    let mut lines = Vec::new();
    for need in needs {
        lines.push(match need {
            Capability::Http | Capability::WasiHttp => r#"grants.http = ["@settings.url"]"#,
            Capability::Tcp | Capability::WasiSockets => r#"grants.tcp = ["@settings.address"]"#,
            Capability::Docker => {
                r#"grants.docker = { containers = ["web-*"], socket = "/var/run/docker.sock" }"#
            }
            Capability::Files => r#"grants.directories = [{ path = "./alerts", access = "append" }]"#,
        });
    }
    lines.dedup();
    if needs
        .iter()
        .any(|need| !matches!(need, Capability::Docker | Capability::Files))
    {
        lines.push(r#"grants.networks = ["public"]"#);
    }
    lines
}

fn to_json(plugin: &Plugin) -> Value {
    let facts = &plugin.facts;
    json!({
        "name": &*facts.name,
        "version": facts.version,
        "summary": facts.summary,
        "kinds": facts.kinds.iter().copied().map(Kind::name).collect::<Vec<_>>(),
        "abi": format!("pulse:plugin@{}", plugin.abi()),
        "imports": plugin.imports,
        "needs": facts.needs.iter().map(|need| need.name()).collect::<Vec<_>>(),
        "file": plugin.path,
        "size_bytes": plugin.size_bytes,
        "digest": format!("sha256:{}", plugin.digest),
        "settings_schema": &*facts.schema,
    })
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join(", ")
    }
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
