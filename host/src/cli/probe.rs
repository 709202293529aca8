//! `probe`: one check, now, in the same sandbox that `run` uses.

use super::{
    Output, Sources, WRONG,
    paint::{BOLD, GREEN, PURPLE, Paint, RED, YELLOW},
    put, put_json,
};
use crate::{
    app::{self, Probed, Refused},
    domain::outcome::{Measurement, Outcome, Status},
    telemetry,
};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};
use std::{fmt::Write as _, process::ExitCode};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host probe shop
  pulse-host probe --plugin http --set url=https://example.com/
  pulse-host probe --plugin http --set url=https://example.com/ --set 'expect-status=[\"2xx\",\"301\"]'
  pulse-host probe shop --output json
Exit code 0: healthy (or degraded). 1: not. 2: the command line or the configuration is wrong.
With --nagios: 0 healthy, 1 degraded, 2 unhealthy, 3 everything else.")]
pub struct ProbeArgs {
    /// Name of a configured monitor
    #[arg(required_unless_present = "plugin", conflicts_with = "plugin")]
    monitor: Option<String>,
    /// Check with this plugin, without any configured monitor
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// One setting: JSON, or text where it is no JSON; dots go deeper (may be given more than once)
    #[arg(
        long,
        value_name = "KEY=VALUE",
        requires = "plugin",
        conflicts_with = "monitor"
    )]
    set: Vec<String>,
    /// Print one line with performance data in place of --output, and exit as Nagios plugins do
    #[arg(long)]
    nagios: bool,
    #[command(flatten)]
    sources: Sources,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn probe(args: ProbeArgs) -> Result<ExitCode> {
    telemetry::start(args.sources.log_format, "warn");
    let probed = match look(&args) {
        Ok(Ok(probed)) => probed,
        // For Nagios 1 and 2 would be verdicts about the target.
        Ok(Err(refused)) if args.nagios => return Ok(unknown(&refused.summary, &refused.text)),
        Err(error) if args.nagios => return Ok(unknown(&format!("{error:#}"), "")),
        Ok(Err(refused)) => {
            eprint!("{}", refused.text);
            return Ok(ExitCode::from(WRONG));
        }
        Err(error) => return Err(error),
    };
    if args.nagios {
        return nagios(&probed.outcome);
    }
    match args.output {
        Output::Text => put(&shown(&probed)?)?,
        Output::Json => put_json(&to_json(&probed))?,
    }
    let alive = matches!(probed.outcome.report(), Some(report) if report.status != Status::Unhealthy);
    Ok(if alive {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn look(args: &ProbeArgs) -> Result<Result<Probed, Refused>> {
    let places = args.sources.places();
    let color = telemetry::colored(&std::io::stderr());
    match (&args.monitor, &args.plugin) {
        (Some(monitor), _) => app::probe_monitor(places, monitor, color),
        (None, Some(plugin)) => match settings(&args.set) {
            Ok(settings) => app::probe_plugin(places, plugin, settings, color),
            Err(error) => Ok(Err(Refused::line(error.to_string()))),
        },
        (None, None) => Ok(Err(Refused::line(
            "name a monitor, or a plugin with --plugin".to_owned(),
        ))),
    }
}

/// Nagios's word for a check that could not be made: one line for it, the rest for the log.
pub fn unknown(summary: &str, text: &str) -> ExitCode {
    eprint!("{text}");
    // Nobody reads it: the exit code says it too.
    let _ = put(&format!("UNKNOWN: {}\n", summary.replace('|', "/")));
    ExitCode::from(3)
}

/// `a.b=1` becomes `{"a": {"b": 1}}`.
fn settings(pairs: &[String]) -> Result<Map<String, Value>> {
    let mut settings = Map::new();
    for pair in pairs {
        let Some((path, text)) = pair.split_once('=') else {
            bail!("--set {pair}: there is no `=`; write --set KEY=VALUE");
        };
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        let (folders, key) = match path.rsplit_once('.') {
            Some((folders, key)) => (Some(folders), key),
            None => (None, path),
        };
        let mut table = &mut settings;
        for folder in folders.into_iter().flat_map(|folders| folders.split('.')) {
            let entry = table.entry(folder).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = entry else {
                bail!("--set {pair}: `{folder}` has a value already, so nothing can be put below it");
            };
            table = inner;
        }
        table.insert(key.to_owned(), value);
    }
    Ok(settings)
}

fn verdict(outcome: &Outcome) -> &'static str {
    outcome.verdict().map_or("unknown", Status::name)
}

fn shown(probed: &Probed) -> Result<String> {
    let mut text = String::new();
    let out = &mut text;
    let on = telemetry::stdout_colored();
    let verdict = verdict(&probed.outcome);
    let code = match verdict {
        "healthy" => GREEN,
        "degraded" => YELLOW,
        "unhealthy" => RED,
        _ => PURPLE,
    };
    let paint = |text, code| Paint { text, code, on };
    writeln!(
        out,
        "{} {}: {}",
        paint(verdict, code),
        paint(&probed.monitor, BOLD),
        probed.outcome
    )?;
    let mut rows = Vec::new();
    if let Some(report) = probed.outcome.report() {
        if let Some(reason) = &report.reason {
            rows.push(("reason".to_owned(), reason.clone()));
        }
        rows.extend(
            report
                .measurements
                .iter()
                .map(|measurement| (measurement.name.clone(), amount(measurement))),
        );
    } else {
        rows.push(("outcome".to_owned(), probed.outcome.class().to_owned()));
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        writeln!(out, "  {name:width$}  {value}")?;
    }
    for line in &probed.log {
        writeln!(out, "  log {:5}  {}", line.level.name(), line.message)?;
    }
    let usage = &probed.usage;
    writeln!(
        out,
        "  took {:.1?}: {:.1?} of CPU time, {:.1?} in host calls; {} fuel, {} KiB of memory",
        usage.wall,
        usage.cpu,
        usage.host,
        usage.fuel,
        usage.peak_memory_bytes.div_ceil(1024)
    )?;
    Ok(text)
}

pub fn amount(measurement: &Measurement) -> String {
    match measurement.unit.as_str() {
        "s" if measurement.value.abs() < 1.0 => format!("{:.2} ms", measurement.value * 1000.0),
        "" | "1" => format!("{}", measurement.value),
        unit => format!("{} {unit}", measurement.value),
    }
}

fn to_json(probed: &Probed) -> Value {
    let report = probed.outcome.report();
    let usage = &probed.usage;
    json!({
        "monitor": probed.monitor,
        "status": verdict(&probed.outcome),
        "outcome": probed.outcome.class(),
        "summary": probed.outcome.to_string(),
        "reason": report.and_then(|report| report.reason.as_ref()),
        "measurements": report.map_or_else(Vec::new, |report| report
            .measurements
            .iter()
            .map(|m| json!({ "name": m.name, "value": m.value, "unit": m.unit }))
            .collect()),
        "usage": {
            "fuel": usage.fuel,
            "wall_seconds": usage.wall.as_secs_f64(),
            "cpu_seconds": usage.cpu.as_secs_f64(),
            "host_seconds": usage.host.as_secs_f64(),
            "peak_memory_bytes": usage.peak_memory_bytes,
        },
        "log": probed
            .log
            .iter()
            .map(|line| json!({ "level": line.level.name(), "message": line.message }))
            .collect::<Vec<_>>(),
    })
}

/// One line `STATE: text | 'label'=value[UOM];;;` and the exit code of the Monitoring Plugins guidelines.
fn nagios(outcome: &Outcome) -> Result<ExitCode> {
    let (word, code) = match verdict(outcome) {
        "healthy" => ("OK", 0),
        "degraded" => ("WARNING", 1),
        "unhealthy" => ("CRITICAL", 2),
        _ => ("UNKNOWN", 3),
    };
    // A pipe in the text would start the performance data.
    let text = outcome.to_string().replace('|', "/");
    let measurements = outcome.report().map_or(&[][..], |report| &report.measurements);
    let data: Vec<String> = measurements
        .iter()
        .map(|m| {
            let unit = match m.unit.as_str() {
                "By" => "B",
                unit @ ("s" | "%") => unit,
                _ => "",
            };
            format!("'{}'={}{unit};;;", m.name.replace(['\'', '='], "_"), m.value)
        })
        .collect();
    put(&if data.is_empty() {
        format!("{word}: {text}\n")
    } else {
        format!("{word}: {text} | {}\n", data.join(" "))
    })?;
    Ok(ExitCode::from(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[&str]) -> Result<Value> {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        settings(&pairs).map(Value::Object)
    }

    #[test]
    fn settings_are_json_or_text_and_dots_go_deeper() {
        assert_eq!(
            set(&[
                "url=http://x/?a=1",
                "max-latency=5",
                "basic.user=me",
                "basic.password=\"1\"",
                "on=true"
            ])
            .unwrap(),
            json!({
                "url": "http://x/?a=1",
                "max-latency": 5,
                "basic": { "user": "me", "password": "1" },
                "on": true,
            })
        );
        assert!(set(&["url"]).unwrap_err().to_string().contains("KEY=VALUE"));
        assert!(set(&["a=1", "a.b=2"]).is_err());
    }
}
