//! `monitors`: monitors that are put into a running host.

use super::operate::{Remote, escaped};
use crate::{http::client, journal::counted};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use serde_json::Value;
use std::{io::Read as _, path::PathBuf, process::ExitCode};

/// What the host takes at most.
const BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Subcommand)]
pub enum MonitorsCommand {
    /// Put many monitors, all or none
    Import(ImportArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pulse-host monitors import shops.ndjson --dry-run
  make-shops | pulse-host monitors import - --tenant acme --replace
A line, or an item of an array, is an object with the keys of a [[monitor]], `name` among them.
Exit code 0: they are checked from now on. 1: nothing has changed, and every problem was printed.")]
pub struct ImportArgs {
    /// A file with a JSON object in each line or an array of them, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose monitors they are
    #[arg(long, value_name = "NAME", default_value = "default")]
    tenant: String,
    /// Take those away that were put before and are not among them
    #[arg(long)]
    replace: bool,
    /// Only say what would come of it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: Remote,
}

pub fn monitors(command: MonitorsCommand) -> Result<ExitCode> {
    let MonitorsCommand::Import(args) = command;
    let file = &args.file;
    let mut body = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut body)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut body))
    };
    read.with_context(|| format!("{} can't be read", file.display()))?;
    if body.len() as u64 > BYTES_MAX {
        bail!(
            "{} is larger than {} MiB; import it in parts",
            file.display(),
            BYTES_MAX >> 20
        );
    }
    let host = match args.remote.reach()? {
        Ok(host) => host,
        Err(code) => return Ok(code),
    };
    let path = format!(
        "/api/v1/monitors/{}?mode={}&dry-run={}",
        escaped(&args.tenant),
        if args.replace { "replace" } else { "merge" },
        args.dry_run
    );
    let answer = client::send(&host.door, "POST", &path, &[], body)?;
    if answer.status.is_success() {
        return host.show(&answer.body, told);
    }
    let Some(detail) = answer.body.get("detail").and_then(Value::as_str) else {
        bail!("it answered {}: is that a pulse-host?", answer.status);
    };
    let errors = answer.body.get("errors").and_then(Value::as_array);
    let Some(errors) = errors else {
        bail!("{detail}");
    };
    for error in errors {
        eprintln!("{}", line(error, &file.display().to_string()));
    }
    let more = answer
        .body
        .get("more_errors")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    let count = errors.len() as u64 + more;
    if more > 0 {
        eprintln!("and {} more", counted(more, "problem"));
    }
    bail!("nothing was changed: {}", counted(count, "problem"))
}

fn told(answer: &Value) -> String {
    let count = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
    let what = match answer.get("dry_run").and_then(Value::as_bool) {
        Some(true) => "it would be ",
        _ => "",
    };
    format!(
        "{what}{} created, {} replaced, {} removed, {} as before",
        count("created"),
        count("replaced"),
        count("removed"),
        count("unchanged")
    )
}

/// One problem, as compilers show theirs.
fn line(error: &Value, sent: &str) -> String {
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| error.get(key).and_then(Value::as_u64);
    let file = match text("file") {
        "" => sent,
        file => file,
    };
    let mut line = file.to_owned();
    for number in [number("line"), number("column")].into_iter().flatten() {
        line.push_str(&format!(":{number}"));
    }
    for (before, key, after) in [(": ", "pointer", ""), (": ", "detail", ""), (" (", "help", ")")] {
        if !text(key).is_empty() {
            line.push_str(&format!("{before}{}{after}", text(key)));
        }
    }
    line
}
