//! `plugin run`: one execution of one component, with what the flags grant and nothing else.

use super::scene::{SceneArgs, flag};
use crate::{
    app::{Ran, Trial},
    capability::course::{Called, Course, Notes, Repeat},
    cli::{
        Output,
        paint::{BOLD, GREEN, PURPLE, Paint, RED, YELLOW},
        probe::amount,
        put, put_json,
    },
    clock::Clock,
    domain::outcome::{ActionFailure, Answer, DeliveryFailure, Measurement, Outcome, Status},
    telemetry,
};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::{fmt::Write as _, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

pub const EXAMPLES: &str = "\
Examples:
  pulse-host plugin run ./fetch --settings @settings.json --grant http=http://localhost:8080
  pulse-host plugin run ./hook --kind code --color green --settings - --grant http=@settings.url
Without --grant nothing is granted, and a denial names the flag that would have allowed it.
Exit code 0: healthy, degraded, done or delivered. 1: everything else. 2: the command line or the
settings are wrong.";

/// Of the calls of one execution.
const NOTES_BYTES_MAX: usize = 1 << 20;
/// Calls that are shown.
const SHOWN_MAX: usize = 20;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// A component, or the folder of a plugin
    file: PathBuf,
    #[command(flatten)]
    scene: SceneArgs,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn run(args: &RunArgs) -> Result<ExitCode> {
    let trial = Trial::load(&args.file, args.scene.memory_bytes())?;
    let scene = args.scene.scene(&trial)?;
    let course = Arc::new(Course::Noted(Notes::new(
        Clock::system(),
        NOTES_BYTES_MAX,
        Repeat::Nothing,
    )));
    let ran = trial.run(&scene, Some(&course))?;
    let (calls, cut) = course.noted();
    match args.output {
        Output::Text => put(&shown(&trial.name, &ran, &calls, cut)?)?,
        Output::Json => put_json(&to_json(&trial.name, &ran, &calls, cut))?,
    }
    Ok(if well(&ran.outcome) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether the plugin came to a good end.
pub fn well(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answer(Answer::Pulse(report)) => report.status != Status::Unhealthy,
        Outcome::Answer(Answer::Intervention(result)) => result.is_ok(),
        Outcome::Answer(Answer::Code(result)) => result.is_ok(),
        _ => false,
    }
}

/// What came of it, in one word.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answer(Answer::Pulse(report)) => report.status.name(),
        Outcome::Answer(Answer::Intervention(Ok(_))) => "done",
        Outcome::Answer(Answer::Intervention(Err(ActionFailure::Retryable(_))))
        | Outcome::Answer(Answer::Code(Err(DeliveryFailure::Retryable { .. }))) => "retryable",
        Outcome::Answer(Answer::Intervention(Err(ActionFailure::Permanent(_))))
        | Outcome::Answer(Answer::Code(Err(DeliveryFailure::Permanent(_)))) => "permanent",
        Outcome::Answer(Answer::Intervention(Err(ActionFailure::EffectUnknown(_)))) => "effect-unknown",
        Outcome::Answer(Answer::Code(Ok(_))) => "delivered",
        outcome => outcome.class(),
    }
}

/// What stands beside the summary.
fn facts(outcome: &Outcome) -> (Option<&str>, &[Measurement]) {
    match outcome {
        Outcome::Answer(Answer::Pulse(report)) => (report.reason.as_deref(), &report.measurements),
        Outcome::Answer(Answer::Intervention(Ok(done))) => (None, &done.measurements),
        _ => (None, &[]),
    }
}

/// For people. How long something took is rounded to what they can compare.
pub fn shown(name: &str, ran: &Ran, calls: &[Called], cut: u64) -> Result<String> {
    let mut text = String::new();
    let out = &mut text;
    let on = telemetry::stdout_colored();
    let word = word(&ran.outcome);
    let code = match word {
        "healthy" | "done" | "delivered" => GREEN,
        "degraded" | "retryable" => YELLOW,
        "unhealthy" | "permanent" | "effect-unknown" => RED,
        _ => PURPLE,
    };
    let paint = |text, code| Paint { text, code, on };
    writeln!(
        out,
        "{} {}: {}",
        paint(word, code),
        paint(name, BOLD),
        ran.outcome
    )?;
    let (reason, measurements) = facts(&ran.outcome);
    let mut rows = vec![("outcome".to_owned(), ran.outcome.class().to_owned())];
    if let Some(reason) = reason {
        rows.push(("reason".to_owned(), reason.to_owned()));
    }
    rows.extend(measurements.iter().map(|one| (one.name.clone(), amount(one))));
    if let Outcome::Answer(Answer::Code(Ok(receipt))) = &ran.outcome
        && let Some(id) = &receipt.id
    {
        rows.push(("receipt".to_owned(), id.clone()));
    }
    if let Outcome::Denied(denial) = &ran.outcome
        && let Some(flag) = flag(denial)
    {
        rows.push(("allow it with".to_owned(), flag));
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        writeln!(out, "  {name:width$}  {value}")?;
    }
    for called in calls.iter().take(SHOWN_MAX) {
        let reply = called
            .reply
            .as_ref()
            .map_or_else(|| "no answer".to_owned(), |reply| reply.words());
        writeln!(
            out,
            "  call {:8.1?}  {} {} -> {reply}",
            called.took,
            called.ask.capability(),
            called.ask.wanted()
        )?;
    }
    let more = calls.len().saturating_sub(SHOWN_MAX) as u64 + cut;
    if more > 0 {
        writeln!(out, "  and {more} more calls")?;
    }
    for line in &ran.log {
        writeln!(out, "  log {:5}  {}", line.level.name(), line.message)?;
    }
    let usage = &ran.usage;
    writeln!(
        out,
        "  took {:.1?}: {:.1?} in the guest, {:.1?} in host calls; {:.1?} of CPU time, {} fuel, {} KiB of memory",
        usage.wall,
        guest(ran),
        usage.host,
        usage.cpu,
        usage.fuel,
        usage.peak_memory_bytes.div_ceil(1024)
    )?;
    Ok(text)
}

/// What came of it without what is another each time: how long things took.
pub fn steady(ran: &Ran, calls: &[Called]) -> String {
    let (reason, measurements) = facts(&ran.outcome);
    let mut text = format!("{}: {}\n", word(&ran.outcome), ran.outcome);
    text.extend(reason.map(|reason| format!("reason {reason}\n")));
    for one in measurements {
        let value = if one.unit == "s" {
            String::new()
        } else {
            amount(one)
        };
        text.push_str(format!("{} {value}", one.name).trim_end());
        text.push('\n');
    }
    for called in calls {
        text.push_str(&format!(
            "call {} {}\n",
            called.ask.capability(),
            called.ask.wanted()
        ));
    }
    for line in &ran.log {
        text.push_str(&format!("log {line}\n"));
    }
    if let Outcome::Denied(denial) = &ran.outcome {
        text.extend(flag(denial).map(|flag| format!("allow it with {flag}\n")));
    }
    text
}

fn guest(ran: &Ran) -> Duration {
    ran.usage.wall.saturating_sub(ran.usage.host)
}

/// For machines.
pub fn to_json(name: &str, ran: &Ran, calls: &[Called], cut: u64) -> Value {
    let (reason, measurements) = facts(&ran.outcome);
    let usage = &ran.usage;
    let allow = match &ran.outcome {
        Outcome::Denied(denial) => flag(denial),
        _ => None,
    };
    json!({
        "plugin": name,
        "result": word(&ran.outcome),
        "outcome": ran.outcome.class(),
        "summary": ran.outcome.to_string(),
        "reason": reason,
        "allow": allow,
        "measurements": measurements
            .iter()
            .map(|m| json!({ "name": m.name, "value": m.value, "unit": m.unit }))
            .collect::<Vec<_>>(),
        "calls": calls
            .iter()
            .map(|called| json!({
                "interface": called.ask.capability(),
                "wanted": called.ask.wanted(),
                "answer": called.reply.as_ref().map(|reply| reply.words()),
                "seconds": called.took.as_secs_f64(),
            }))
            .collect::<Vec<_>>(),
        "calls_not_kept": cut,
        "usage": {
            "fuel": usage.fuel,
            "wall_seconds": usage.wall.as_secs_f64(),
            "guest_seconds": guest(ran).as_secs_f64(),
            "host_seconds": usage.host.as_secs_f64(),
            "cpu_seconds": usage.cpu.as_secs_f64(),
            "peak_memory_bytes": usage.peak_memory_bytes,
        },
        "log": ran
            .log
            .iter()
            .map(|line| json!({ "level": line.level.name(), "message": line.message }))
            .collect::<Vec<_>>(),
    })
}
