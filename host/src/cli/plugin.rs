//! `plugin`: what plugins there are, and what each is.

use super::{
    Output,
    paint::{BOLD, Paint},
    print_json,
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
use std::{path::PathBuf, process::ExitCode};

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
        Output::Json => print_json(&json!({
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
            table(["NAME", "VERSION", "KINDS", "NEEDS", "SUMMARY"], &rows);
            for problem in &problems {
                println!("not usable: {problem}");
            }
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
        Output::Json => print_json(&to_json(&plugin))?,
        Output::Text => print(&plugin)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(plugin: &Plugin) -> Result<()> {
    let facts = &plugin.facts;
    let on = telemetry::stdout_colored();
    let name = Paint {
        text: &facts.name,
        code: BOLD,
        on,
    };
    println!("{name} {}: {}", facts.version, facts.summary);
    println!("  file     {}", plugin.path.display());
    println!("  size     {} bytes", plugin.size_bytes);
    println!("  digest   sha256:{}", plugin.digest);
    println!("  abi      pulse:plugin@{}", plugin.abi());
    println!("  kinds    {}", names(facts.kinds.iter().map(|kind| kind.name())));
    println!("  imports");
    for import in &plugin.imports {
        println!("    {import}");
    }
    if facts.needs.is_empty() {
        println!("  needs no grants");
    } else {
        println!("  needs these grants, for example");
        println!("    [plugins.{}]", facts.name);
        for line in grants(&facts.needs) {
            println!("    {line}");
        }
    }
    println!("  settings (JSON Schema)");
    for line in serde_json::to_string_pretty(&*facts.schema)?.lines() {
        println!("    {line}");
    }
    Ok(())
}

/// The lines of `[plugins.NAME]` that such needs ask for.
fn grants(needs: &[Capability]) -> Vec<&'static str> {
    let mut lines = Vec::new();
    for need in needs {
        lines.push(match need {
            Capability::Http => r#"grants.http = ["@settings.url"]"#,
            Capability::Tcp => r#"grants.tcp = ["@settings.address"]"#,
            Capability::Docker => {
                r#"grants.docker = { containers = ["web-*"], socket = "/var/run/docker.sock" }"#
            }
            Capability::Files => r#"grants.directories = [{ path = "./alerts", access = "append" }]"#,
        });
    }
    if needs
        .iter()
        .any(|need| matches!(need, Capability::Http | Capability::Tcp))
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

fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[&str]| {
        let cells: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("{}", cells.join("  ").trim_end());
    };
    line(&head);
    for row in rows {
        line(&row.each_ref().map(String::as_str));
    }
}
