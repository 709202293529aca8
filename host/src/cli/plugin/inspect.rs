//! `plugin inspect`: everything about one plugin.

use super::{PluginSources, names};
use crate::{
    app,
    cli::{
        Output,
        paint::{BOLD, Paint},
        put, put_json,
    },
    domain::{plugin::Capability, spec::Kind},
    plugins::Reach,
    sandbox::Plugin,
    telemetry,
};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::{fmt::Write as _, process::ExitCode};

pub const EXAMPLES: &str = "\
Examples:
  pulse-host plugin inspect http
  pulse-host plugin inspect ./my-check.wasm --output json";

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Name of a plugin in the plugins folder, or path of a component or of a plugin's folder
    plugin: String,
    #[command(flatten)]
    sources: PluginSources,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    let plugin = app::inspect(args.sources.places(), &args.plugin)?;
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
    if !plugin.requests.is_empty() {
        writeln!(out, "  asks for (which grants nothing)")?;
        for (key, entry) in plugin.requests.entries() {
            writeln!(out, "    {key} {entry}")?;
        }
    }
    if facts.needs.is_empty() {
        writeln!(out, "  needs no grants")?;
    } else {
        writeln!(out, "  needs these grants, for example")?;
        writeln!(out, "    [plugins.{}]", facts.name)?;
        for line in grants(&facts.needs, &plugin.requests) {
            writeln!(out, "    {line}")?;
        }
    }
    writeln!(out, "  settings (JSON Schema)")?;
    for line in serde_json::to_string_pretty(&*facts.schema)?.lines() {
        writeln!(out, "    {line}")?;
    }
    Ok(text)
}

/// The lines of `[plugins.NAME]` that such needs ask for: as the author would have them, or an example.
fn grants(needs: &[Capability], requests: &Reach) -> Vec<String> {
    let asked = |key: &str| -> Option<String> {
        let own = requests.entries().filter(|(other, _)| *other == key);
        let entries: Vec<String> = own.map(|(_, entry)| format!("{entry:?}")).collect();
        (!entries.is_empty()).then(|| entries.join(", "))
    };
    let line = |key: &str, example: &str| {
        format!(
            "grants.{key} = [{}]",
            asked(key).unwrap_or_else(|| example.to_owned())
        )
    };
    let mut lines = Vec::new();
    for need in needs {
        lines.push(match need {
            Capability::Http | Capability::WasiHttp => line("http", r#""@settings.url""#),
            Capability::Tcp | Capability::Tls | Capability::WasiSockets => {
                line("tcp", r#""@settings.address""#)
            }
            Capability::Dns => line("dns", r#""system""#),
            Capability::Icmp => line("icmp", r#""@settings.host""#),
            Capability::Command => r#"grants.commands = ["NAME"]"#.to_owned(),
            Capability::Docker => format!(
                r#"grants.docker = {{ containers = [{}], socket = "/var/run/docker.sock" }}"#,
                asked("containers").unwrap_or_else(|| r#""web-*""#.to_owned())
            ),
            Capability::Files => {
                r#"grants.directories = [{ path = "./alerts", access = "append" }]"#.to_owned()
            }
        });
    }
    if let Some(asked) = asked("udp") {
        lines.push(format!("grants.udp = [{asked}]"));
    }
    let (mut seen, network) = (Vec::new(), |need: &Capability| {
        !matches!(need, Capability::Docker | Capability::Command | Capability::Files)
    });
    lines.retain(|line| {
        !seen.contains(line) && {
            seen.push(line.clone());
            true
        }
    });
    if needs.iter().any(network) {
        lines.push(line("networks", r#""public""#));
    }
    lines
}

pub fn to_json(plugin: &Plugin) -> Value {
    let facts = &plugin.facts;
    json!({
        "name": &*facts.name,
        "version": facts.version,
        "summary": facts.summary,
        "kinds": facts.kinds.iter().copied().map(Kind::name).collect::<Vec<_>>(),
        "abi": format!("pulse:plugin@{}", plugin.abi()),
        "imports": plugin.imports,
        "needs": facts.needs.iter().map(|need| need.name()).collect::<Vec<_>>(),
        "requests": plugin.requests,
        "file": plugin.path,
        "size_bytes": plugin.size_bytes,
        "digest": format!("sha256:{}", plugin.digest),
        "settings_schema": &*facts.schema,
    })
}
