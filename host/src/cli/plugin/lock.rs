//! `plugin lock`: pins the plugins as they are, shows what differs from that, and takes what was looked at.

use super::PluginSources;
use crate::{
    app::{self, Survey},
    cli::{
        Output, WRONG,
        paint::{BOLD, Paint, RED},
        put, put_json,
    },
    plugins::lock::{Comparison, Record, State, compare},
    telemetry,
};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

pub const EXAMPLES: &str = "\
Examples:
  pulse-host plugin lock                            pin everything, or show what differs from the lock
  pulse-host plugin lock --accept http              show what differs in http, and take it
  pulse-host plugin lock --accept --output json     take everything that is new or changed
Without --accept nothing that is in the lock changes, and a lock that is there gets no new plugins. A plugin that is
no longer there stays in the lock until it is accepted by its name.
Exit code 0: all plugins are as they are locked. 1: some are not. 2: the command line is wrong.";

#[derive(Debug, Args)]
pub struct LockArgs {
    /// Take what differs: of these plugins, or without names of all that are there
    #[arg(long, value_name = "NAME", num_args = 0..)]
    accept: Option<Vec<String>>,
    #[command(flatten)]
    sources: PluginSources,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn lock(args: &LockArgs) -> Result<ExitCode> {
    let mut survey = app::survey(args.sources.places())?;
    let now = records(&survey);
    let mut comparisons = compare(&survey.lock.records, &now);
    let created = !survey.lock.exists();
    let accepted: Vec<String> = match &args.accept {
        None if created => now.keys().cloned().collect(),
        None => Vec::new(),
        Some(names) if names.is_empty() => now.keys().cloned().collect(),
        Some(names) => {
            if let Some(unknown) = names
                .iter()
                .find(|name| !comparisons.iter().any(|one| one.name == **name))
            {
                eprint!("{}", unknown_name(unknown, &comparisons, &survey));
                return Ok(ExitCode::from(WRONG));
            }
            if let Some(name) = names.iter().find(|name| survey.ambiguous.contains(*name)) {
                eprintln!(
                    "pulse-host: there are several plugins named `{name}`; remove or rename all but one"
                );
                problems(&survey)
                    .iter()
                    .for_each(|problem| eprintln!("not usable: {problem}"));
                return Ok(ExitCode::from(WRONG));
            }
            names.clone()
        }
    };
    for name in &accepted {
        match now.get(name) {
            Some(record) => survey.lock.records.insert(name.clone(), record.clone()),
            None => survey.lock.records.remove(name),
        };
    }
    if created || !accepted.is_empty() {
        survey.lock.write()?;
    }
    let taken = |one: &Comparison| one.state != State::Same && accepted.contains(&one.name);
    let open = comparisons
        .iter()
        .any(|one| one.state != State::Same && !taken(one));
    match args.output {
        Output::Json => {
            let plugins: Vec<_> = comparisons
                .iter()
                .map(|one| {
                    let mut value = json!(one);
                    if let Some(members) = value.as_object_mut() {
                        members.insert("accepted".to_owned(), taken(one).into());
                    }
                    value
                })
                .collect();
            put_json(&json!({
                "lock": survey.lock.path(),
                "created": created,
                "plugins": plugins,
                "problems": problems(&survey),
            }))?;
        }
        Output::Text => {
            let mut text = String::new();
            let path = survey.lock.path().display();
            if created {
                writeln!(text, "{path} was made.")?;
                // Everything is new there, and nothing is to be compared.
                comparisons.iter_mut().for_each(|one| one.changes.clear());
            }
            for one in &comparisons {
                show(&mut text, one, taken(one))?;
            }
            for problem in &survey.problems {
                writeln!(text, "not usable: {problem}")?;
            }
            if open {
                writeln!(
                    text,
                    "\nWhat differs from {path} is not used until somebody takes it: pulse-host plugin lock --accept NAME"
                )?;
            }
            put(&text)?;
        }
    }
    Ok(if open || !survey.problems.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What would be pinned now, by name.
pub fn records(survey: &Survey) -> BTreeMap<String, Record> {
    let plugins = survey.plugins.iter();
    plugins
        .map(|(name, plugin)| (name.clone(), survey.record(plugin)))
        .collect()
}

pub fn problems(survey: &Survey) -> Vec<String> {
    survey.problems.iter().map(ToString::to_string).collect()
}

fn unknown_name(name: &str, known: &[Comparison], survey: &Survey) -> String {
    let near = known
        .iter()
        .map(|one| one.name.as_str())
        .min_by_key(|other| strsim::damerau_levenshtein(other, name));
    let mut text = match near {
        Some(near) => {
            format!("pulse-host: there is no plugin `{name}`, nor is it locked; did you mean `{near}`?\n")
        }
        None => format!("pulse-host: there is no plugin `{name}`, nor any other\n"),
    };
    for problem in &survey.problems {
        text.push_str(&format!("not usable: {problem}\n"));
    }
    text
}

/// One plugin and how it stands to the lock.
pub fn show(out: &mut String, one: &Comparison, taken: bool) -> std::fmt::Result {
    let on = telemetry::stdout_colored();
    let name = Paint {
        text: &one.name,
        code: BOLD,
        on,
    };
    let state = match one.state {
        State::Same => "as locked",
        State::New => "not in the lock",
        State::Within => "changed, within what it asked for and was granted",
        State::Changed => "changed",
        State::Missing => "in the lock, but not there",
    };
    let accepted = match (taken, one.state) {
        (false, _) => "",
        (true, State::Missing) => "; removed from the lock",
        (true, _) => "; accepted",
    };
    writeln!(out, "{name} {}: {state}{accepted}", one.version)?;
    for change in &one.changes {
        let field = change.field;
        match (&change.was, &change.now) {
            (Some(was), Some(now)) => writeln!(out, "  {field:<9} {was} -> {now}")?,
            (None, Some(now)) => writeln!(out, "  {field:<9} + {now}")?,
            (Some(was), None) => writeln!(out, "  {field:<9} - {was}")?,
            (None, None) => writeln!(out, "  {field}")?,
        }
        if let Some(why) = &change.beyond {
            let why = Paint {
                text: why,
                code: RED,
                on,
            };
            writeln!(out, "  {:<9}   ! {why}", "")?;
        }
    }
    Ok(())
}
