//! `plugin test`: the cases of a plugin, without any network; recording one from a real run; playing a recording.

use super::scene::{SceneArgs, Usage};
use crate::{
    app::{self, Ran, Trial},
    capability::course::{Course, GuestTime, Notes, Origin, Repeat, fresh_seed},
    cases::{Case, Failed, RECORDED_BYTES_MAX, Record, as_played, diff::Line},
    cli::{
        Output,
        paint::{GREEN, Paint, RED},
        put, put_json,
    },
    clock::Clock,
    domain::plugin::Capability,
    journal::counted,
    telemetry,
};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

pub const EXAMPLES: &str = "\
Examples:
  pulse-host plugin test ./fetch                    run every case in ./fetch/tests
  pulse-host plugin test ./fetch --case down        run ./fetch/tests/down.toml
  pulse-host plugin test ./fetch --record up --settings @settings.json --grant http=@settings.url
  pulse-host plugin test ./fetch --replay trace.toml
Exit code 0: all cases went as they say. 1: some did not. 2: the command line or the settings are
wrong.";

/// The folder of cases beside a component.
pub const FOLDER: &str = "tests";

#[derive(Debug, Args)]
pub struct TestArgs {
    /// The folder of a plugin, or a component; cases are in the folder tests beside it
    path: PathBuf,
    /// Run only the case of that name (may be given more than once)
    #[arg(long, value_name = "NAME", conflicts_with_all = ["record", "replay"])]
    case: Vec<String>,
    /// Execute the plugin for real, with --settings and --grant, and write what happened as the case NAME
    #[arg(long, value_name = "NAME", conflicts_with = "replay")]
    record: Option<String>,
    /// Play one recording, which must come out the same to the byte
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Options for --record")]
    scene: SceneArgs,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn test(args: &TestArgs) -> Result<ExitCode> {
    let given = args.scene.given();
    if args.record.is_none() && !given.is_empty() {
        let text = format!(
            "{} would change nothing: a case says itself what is run; with --record NAME one is made of a run by flags",
            given.join(", ")
        );
        return Err(Usage(text).into());
    }
    let trial = Trial::load(&args.path, args.scene.memory_bytes())?;
    if let Some(name) = &args.record {
        return record(&trial, &folder(&args.path), name, &args.scene);
    }
    let report = match &args.replay {
        Some(file) => {
            repeatable(&trial)?;
            run_all(&args.path, trial, std::slice::from_ref(file))?
        }
        None => {
            let files = files(&folder(&args.path), &args.case)?;
            run_all(&args.path, trial, &files)?
        }
    };
    match args.output {
        Output::Text => put(&report.shown()?)?,
        Output::Json => put_json(&report.to_json())?,
    }
    Ok(report.code())
}

/// Where the cases of that plugin are.
pub fn folder(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(FOLDER)
    } else {
        path.parent().unwrap_or(Path::new("")).join(FOLDER)
    }
}

/// The files of cases in that folder, sorted; of those names, if there are any.
pub fn files(folder: &Path, names: &[String]) -> Result<Vec<PathBuf>> {
    let none = || {
        format!(
            "there are no cases in {}; write one, or record one with --record NAME",
            folder.display()
        )
    };
    let entries = std::fs::read_dir(folder).with_context(none)?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    if files.is_empty() {
        bail!(none());
    }
    let stem = |path: &Path| {
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let present: Vec<String> = files.iter().map(|path| stem(path)).collect();
    if let Some(name) = names.iter().find(|name| !present.contains(name)) {
        return Err(Usage(format!(
            "there is no case `{name}`; there is {}",
            present.join(", ")
        ))
        .into());
    }
    if !names.is_empty() {
        files.retain(|path| names.contains(&stem(path)));
    }
    Ok(files)
}

/// What became of one case.
struct Tested {
    name: String,
    /// It can't be read; says why.
    unread: Option<String>,
    failed: Vec<Failed>,
    warnings: Vec<String>,
    ran: Option<Ran>,
}

/// What became of all of them.
pub struct Report {
    tested: Vec<Tested>,
}

/// Runs cases, however many of them fail.
pub fn run_all(path: &Path, trial: Trial, files: &[PathBuf]) -> Result<Report> {
    let facts = trial.plugin()?.facts.clone();
    let read: Vec<(PathBuf, Result<Case, String>)> = files
        .iter()
        .map(|file| (file.clone(), Case::read(file, &facts)))
        .collect();
    let memory = read
        .iter()
        .filter_map(|(_, case)| case.as_ref().ok())
        .map(|case| case.scene.limits.memory_bytes)
        .max()
        .unwrap_or_default();
    if memory > app::MEMORY_BYTES_MAX {
        bail!(
            "a case wants {memory} bytes of memory; at most {} are given",
            app::MEMORY_BYTES_MAX
        );
    }
    let trial = if memory > trial.memory_bytes_max() {
        Trial::load(path, memory)?
    } else {
        trial
    };
    let mut tested = Vec::new();
    for (file, case) in read {
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        tested.push(match case {
            Err(unread) => Tested {
                name,
                unread: Some(unread),
                failed: Vec::new(),
                warnings: Vec::new(),
                ran: None,
            },
            Ok(case) => {
                let (failed, ran) = run_one(&trial, &case)?;
                let mut warnings = warnings(&case, &facts.digest);
                if !failed.is_empty() && app::is_short(&ran.outcome) {
                    warnings.push(app::needed(path, &case)?);
                }
                Tested {
                    name,
                    unread: None,
                    failed,
                    warnings,
                    ran: Some(ran),
                }
            }
        });
    }
    Ok(Report { tested })
}

fn run_one(trial: &Trial, case: &Case) -> Result<(Vec<Failed>, Ran)> {
    let digest = &*trial.plugin()?.facts.digest;
    let playing = case.play();
    let ran = trial.run(&case.scene, Some(&playing.course))?;
    let failed = case.failures(&playing, digest, &ran.outcome, &ran.log, ran.usage.fuel);
    Ok((failed, ran))
}

fn warnings(case: &Case, digest: &str) -> Vec<String> {
    let Some(recorded) = &case.recorded else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    if recorded.digest != digest {
        warnings.push(format!(
            "was recorded of another component, sha256:{}; this one is sha256:{digest}",
            recorded.digest
        ));
    }
    if recorded.calls_cut > 0 {
        warnings.push(format!(
            "{} of the recorded execution were not kept, for want of room; it can be repeated up to there",
            counted(recorded.calls_cut, "call")
        ));
    }
    warnings
}

/// Whether what the plugin does goes through calls that can be answered from a record.
fn repeatable(trial: &Trial) -> Result<()> {
    let needs = &trial.plugin()?.facts.needs;
    let Some(need) = needs.iter().find(|need| !need.is_repeatable()) else {
        return Ok(());
    };
    let can: Vec<&str> = Capability::ALL
        .into_iter()
        .filter(|need| need.is_repeatable())
        .map(Capability::name)
        .collect();
    Err(Usage(format!(
        "the plugin `{}` needs {}, and what is done through that can be neither recorded nor replayed; calls of {}, \
         clocks and random numbers can",
        trial.name,
        need.name(),
        can.join(", ")
    ))
    .into())
}

fn record(trial: &Trial, folder: &Path, name: &str, args: &SceneArgs) -> Result<ExitCode> {
    repeatable(trial)?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        let text = format!("--record {name}: a name has 1 to 64 lower-case letters, digits, `-` and `_`");
        return Err(Usage(text).into());
    }
    let path = folder.join(format!("{name}.toml"));
    if path.exists() {
        let text = format!(
            "{} is there already; remove it, or record under another name",
            path.display()
        );
        return Err(Usage(text).into());
    }
    let scene = args.scene(trial)?;
    let clock = Clock::system();
    let origin = Origin {
        wall: clock.wall(),
        seed: fresh_seed()?,
    };
    let scene = crate::cases::Scene {
        scheduled_at: origin.wall,
        // So that what is recorded is what is played. What can't be written is told below, with what it is.
        settings: as_played(&scene.settings).unwrap_or(scene.settings),
        ..scene
    };
    let repeat = Repeat::Time(Arc::new(GuestTime::new(origin, true)));
    let course = Arc::new(Course::Noted(Notes::new(clock, RECORDED_BYTES_MAX, repeat)));
    let ran = trial.run(&scene, Some(&course))?;
    let (calls, calls_cut) = course.noted();
    let plugin = trial.plugin()?;
    let record = Record {
        scene: &scene,
        origin,
        facts: &plugin.facts,
        calls: &calls,
        calls_cut,
        outcome: &ran.outcome,
        log: &ran.log,
        fuel: ran.usage.fuel,
    };
    let head = format!(
        "Recorded by `pulse-host plugin test --record {name}`. Everything in it is compared to the byte; without\n\
         [recorded], only what is still there."
    );
    let text = record.text(&head).map_err(|error| anyhow!(error))?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(&path, &text).with_context(|| path.display().to_string())?;
    put(&super::run::shown(&trial.name, &ran, &calls, calls_cut)?)?;
    if calls_cut > 0 {
        put(&format!(
            "  only {} KiB of calls are kept: {} more are missing\n",
            RECORDED_BYTES_MAX >> 10,
            calls_cut
        ))?;
    }
    // Whether it can be repeated is known now, and not when somebody needs it.
    let case = Case::parse(&path, &text, &plugin.facts).map_err(|error| anyhow!(error))?;
    let (failed, _) = run_one(trial, &case)?;
    if failed.is_empty() {
        put(&format!(
            "recorded as {}, and it comes out the same\n",
            path.display()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!(
        "recorded as {}, but it does not come out the same:\n",
        path.display()
    );
    for failed in &failed {
        show(&mut text, failed)?;
    }
    put(&text)?;
    Ok(ExitCode::FAILURE)
}

impl Report {
    /// 0 if all went as they say.
    pub fn code(&self) -> ExitCode {
        if self.tested.iter().all(Tested::is_ok) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// For people.
    pub fn shown(&self) -> Result<String> {
        let on = telemetry::stdout_colored();
        let mut text = String::new();
        let out = &mut text;
        for tested in &self.tested {
            let (word, code) = if tested.is_ok() {
                ("ok", GREEN)
            } else {
                ("failed", RED)
            };
            let padding = " ".repeat("failed".len() - word.len());
            let word = Paint { text: word, code, on };
            let fuel = tested
                .ran
                .as_ref()
                .map_or_else(String::new, |ran| format!("  ({} fuel)", ran.usage.fuel));
            writeln!(out, "{word}{padding}  {}{fuel}", tested.name)?;
            for warning in &tested.warnings {
                writeln!(out, "        warning: {warning}")?;
            }
            for line in tested.unread.iter().flat_map(|unread| unread.lines()) {
                writeln!(out, "        {line}")?;
            }
            for failed in &tested.failed {
                show(out, failed)?;
            }
            if let Some(ran) = tested.ran.as_ref().filter(|_| !tested.failed.is_empty()) {
                for line in &ran.log {
                    writeln!(out, "        log {line}")?;
                }
            }
        }
        let failed = self.tested.iter().filter(|tested| !tested.is_ok()).count();
        let all = self.tested.len();
        writeln!(
            out,
            "{}: {} ok, {failed} failed",
            counted(all as u64, "case"),
            all - failed
        )?;
        Ok(text)
    }

    /// Each case: its name, what came of it, and what it used.
    pub fn each(&self) -> Result<Vec<(String, String, Option<u64>)>> {
        let each = self.tested.iter().map(|tested| {
            let mut text = String::from(if tested.is_ok() { "ok\n" } else { "failed\n" });
            text.push_str(tested.unread.as_deref().unwrap_or_default());
            for failed in &tested.failed {
                show_plain(&mut text, failed)?;
            }
            let fuel = tested.ran.as_ref().map(|ran| ran.usage.fuel);
            Ok((tested.name.clone(), text, fuel))
        });
        each.collect()
    }

    /// For machines.
    pub fn to_json(&self) -> Value {
        let cases = self.tested.iter().map(|tested| {
            let mut failures = String::new();
            for failed in &tested.failed {
                // Writing to a String can't fail.
                let _ = show_plain(&mut failures, failed);
            }
            json!({
                "name": tested.name,
                "ok": tested.is_ok(),
                "unreadable": tested.unread,
                "warnings": tested.warnings,
                "failures": failures.lines().map(str::trim_end).collect::<Vec<_>>(),
                "outcome": tested.ran.as_ref().map(|ran| ran.outcome.class()),
                "fuel": tested.ran.as_ref().map(|ran| ran.usage.fuel),
            })
        });
        let failed = self.tested.iter().filter(|tested| !tested.is_ok()).count();
        json!({ "cases": cases.collect::<Vec<_>>(), "ok": self.tested.len() - failed, "failed": failed })
    }
}

impl Tested {
    fn is_ok(&self) -> bool {
        self.unread.is_none() && self.failed.is_empty()
    }
}

fn show(out: &mut String, failed: &Failed) -> std::fmt::Result {
    show_as(out, failed, telemetry::stdout_colored())
}

fn show_plain(out: &mut String, failed: &Failed) -> std::fmt::Result {
    show_as(out, failed, false)
}

fn show_as(out: &mut String, failed: &Failed, on: bool) -> std::fmt::Result {
    let diff = |out: &mut String, diff: &[Line]| {
        for line in diff {
            let (sign, text, code) = match line {
                Line::Same(text) => (' ', text, None),
                Line::Wanted(text) => ('-', text, Some(RED)),
                Line::Got(text) => ('+', text, Some(GREEN)),
            };
            let line = format!("{sign} {text}");
            match code {
                Some(code) => writeln!(
                    out,
                    "          {}",
                    Paint {
                        text: &line,
                        code,
                        on
                    }
                )?,
                None => writeln!(out, "          {line}")?,
            }
        }
        Ok::<_, std::fmt::Error>(())
    };
    match failed {
        Failed::Call(number, lines) => {
            writeln!(
                out,
                "        call {number} is not what the case says (- case, + plugin):"
            )?;
            diff(out, lines)
        }
        Failed::Unexpected(written) => {
            writeln!(
                out,
                "        a call that the case does not have; it would be written:"
            )?;
            written
                .lines()
                .try_for_each(|line| writeln!(out, "          {line}"))
        }
        Failed::Missing(calls) => {
            writeln!(
                out,
                "        {} not made:",
                if calls.len() == 1 {
                    "a call was"
                } else {
                    "calls were"
                }
            )?;
            calls
                .iter()
                .flat_map(|call| call.lines())
                .try_for_each(|line| writeln!(out, "          {line}"))
        }
        Failed::Came(lines) => {
            writeln!(out, "        something else came of it (- case, + plugin):")?;
            diff(out, lines)
        }
        Failed::Fuel(recorded, used) => {
            writeln!(
                out,
                "        it used {used} fuel, and {recorded} when it was recorded"
            )
        }
    }
}
