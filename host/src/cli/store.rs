//! `store` and `incidents`: what is on record, whether a host runs or not.

use super::{Output, put, put_json, table::table, whose::Whose};
use crate::{
    clock::Clock,
    domain::time::Wall,
    store::{Found, IncidentRow, Inspected, PRESENT, StepRow, Wanted},
};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{path::PathBuf, process::ExitCode, time::Duration};

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Read all of the store, and say what is in it and whether it is whole
    Check(CheckArgs),
    /// Copy the store to a new file, as it is at one moment; a host may go on writing
    Backup(BackupArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host store check
  pulse-host store check --data-dir /var/lib/pulse-host
Exit codes: 0 it is whole, 1 it is damaged or can't be read.")]
pub struct CheckArgs {
    #[command(flatten)]
    whose: Whose,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host store backup /backup/pulse-host.db
To restore one: stop pulse-host, put the file into its data directory as pulse-host.db,
and delete pulse-host.db-wal and pulse-host.db-shm there.")]
pub struct BackupArgs {
    /// The file to be made
    #[arg(value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    whose: Whose,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host incidents --open
  pulse-host incidents 62b5a1c0f8e41      what happened in that one, step by step
  pulse-host incidents --tenant acme --output json")]
pub struct IncidentsArgs {
    /// One incident by its id
    #[arg(value_name = "ID", conflicts_with_all = ["open", "tenant", "limit", "before"])]
    id: Option<String>,
    /// Those that are not over only
    #[arg(long)]
    open: bool,
    /// Of that tenant only
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// At most so many, the latest first; up to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
    /// Those before that one
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    #[command(flatten)]
    whose: Whose,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

/// The store, or the exit code of a configuration that is wrong.
fn opened(whose: Whose) -> Result<Result<Inspected, ExitCode>> {
    Ok(match whose.data_dir()? {
        Ok(data_dir) => Ok(Inspected::open(&data_dir)?),
        Err(code) => Err(code),
    })
}

pub fn store(command: StoreCommand) -> Result<ExitCode> {
    match command {
        StoreCommand::Check(args) => {
            let store = match opened(args.whose)? {
                Ok(store) => store,
                Err(code) => return Ok(code),
            };
            let found = store.check()?;
            match args.output {
                Output::Text => put(&found_text(&found))?,
                Output::Json => put_json(&found_json(&found))?,
            }
            Ok(if found.is_well() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        StoreCommand::Backup(args) => {
            let store = match opened(args.whose)? {
                Ok(store) => store,
                Err(code) => return Ok(code),
            };
            store.backup(&args.to)?;
            put(&format!("{}\n", args.to.display()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

pub fn incidents(args: IncidentsArgs) -> Result<ExitCode> {
    let store = match opened(args.whose)? {
        Ok(store) => store,
        Err(code) => return Ok(code),
    };
    let (reader, now) = (store.reader(), Clock::system().wall());
    let Some(id) = args.id else {
        let wanted = Wanted {
            tenant: args.tenant,
            key: None,
            open: args.open.then_some(true),
            before: args.before,
            limit: args.limit,
        };
        let rows = reader.incidents(&wanted).context("the store can't be read")?;
        match args.output {
            Output::Text => put(&list(&rows, now))?,
            Output::Json => put_json(&Value::Array(rows.iter().map(incident_json).collect()))?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Some((row, steps)) = reader.incident(&id).context("the store can't be read")? else {
        bail!("there is no incident {id}; `pulse-host incidents` lists them");
    };
    match args.output {
        Output::Text => put(&story(&row, &steps, now))?,
        Output::Json => {
            let mut one = incident_json(&row);
            if let Value::Object(one) = &mut one {
                one.insert("timeline".to_owned(), steps.iter().map(step_json).collect());
            }
            put_json(&one)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn found_text(found: &Found) -> String {
    let mut text = format!("{}, schema {}", found.file.display(), found.schema);
    if found.schema > PRESENT {
        text.push_str(&format!(
            ", of a later pulse-host: this one knows up to {PRESENT}"
        ));
    }
    text.push_str(&format!(
        "\n{} in trouble; {} of {} incidents open; {} events; {} sums of checks\n",
        found.monitors, found.open, found.incidents, found.events, found.history
    ));
    if found.wrong.is_empty() {
        text.push_str("it is whole\n");
    } else {
        text.push_str("it is DAMAGED: restore a backup\n");
        for line in &found.wrong {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

fn found_json(found: &Found) -> Value {
    json!({
        "file": found.file.display().to_string(),
        "schema": found.schema,
        "whole": found.is_well(),
        "wrong": found.wrong,
        "monitors": found.monitors,
        "incidents-open": found.open,
        "incidents": found.incidents,
        "events": found.events,
        "history": found.history,
        "heartbeats": found.heartbeats,
    })
}

fn list(rows: &[IncidentRow], now: Wall) -> String {
    if rows.is_empty() {
        return "no incidents\n".to_owned();
    }
    let mut lines = vec![["ID", "MONITOR", "BEGAN", "LASTED", "LAST REPORT"].map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [
            row.id.clone(),
            format!("{}/{}", row.tenant, row.monitor),
            format!("{} ago", age(row.opened_at, now)),
            lasted(row),
            row.summary.clone(),
        ]
    }));
    table(&lines)
}

fn story(row: &IncidentRow, steps: &[StepRow], now: Wall) -> String {
    let mut text = format!(
        "{}/{}: began {} ago, {}\n",
        row.tenant,
        row.monitor,
        age(row.opened_at, now),
        match row.closed_at {
            Some(_) => format!("lasted {}", lasted(row)),
            None => "not over".to_owned(),
        }
    );
    for step in steps {
        text.push_str(&format!("  +{:<10} {}\n", age(row.opened_at, step.at), step.line));
    }
    let shown = steps.len() as u64;
    if row.steps > shown {
        text.push_str(&format!("  and {} more that were not kept\n", row.steps - shown));
    }
    text
}

fn lasted(row: &IncidentRow) -> String {
    row.closed_at
        .map_or_else(|| "open".to_owned(), |closed| age(row.opened_at, closed))
}

/// From one point to a later one, in two words.
fn age(from: Wall, to: Wall) -> String {
    let seconds = Duration::from_millis(to.0.saturating_sub(from.0)).as_secs();
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn incident_json(row: &IncidentRow) -> Value {
    json!({
        "id": row.id,
        "tenant": row.tenant,
        "monitor": row.monitor,
        "opened-at": row.opened_at,
        "incident-at": row.incident_at,
        "closed-at": row.closed_at,
        "summary": row.summary,
        "reason": row.reason,
        "steps": row.steps,
    })
}

fn step_json(step: &StepRow) -> Value {
    json!({
        "at": step.at,
        "what": step.what,
        "line": step.line,
        "detail": step.detail.as_deref().and_then(|detail| serde_json::from_str::<Value>(detail).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_two_words() {
        let of = |seconds: u64| age(Wall(1000), Wall(1000 + seconds * 1000));
        assert_eq!([0, 61, 3700, 90_000].map(of), ["0s", "1m1s", "1h1m", "1d1h"]);
        assert_eq!(age(Wall(5000), Wall(0)), "0s", "a clock that was set back");
    }
}
