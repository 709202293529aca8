//! `plugin dev`: watch a plugin's folder, build it when something in it changed, try it, and show what is different now.

use super::{
    run,
    scene::{SceneArgs, Usage},
    sources::Sources,
    test,
};
use crate::{
    app::Trial,
    capability::course::{Course, Notes, Repeat},
    cases::diff::{self, Line},
    cli::{
        paint::{BOLD, GREEN, Paint, RED},
        progress::grouped,
        put,
    },
    clock::Clock,
    plugins::{self, Build, Manifest},
    telemetry,
};
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

pub const EXAMPLES: &str = "\
Examples:
  pulse-host plugin dev ./fetch                     build and run its cases when a source changes
  pulse-host plugin dev ./fetch --settings @settings.json --grant http=http://localhost:8080
What builds it stands in plugin.toml: [build] command = [\"make\"], output = \"out/fetch.wasm\". Ctrl-C
ends it.";

/// An editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(150);
const NOTES_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Args)]
pub struct DevArgs {
    /// The folder of a plugin
    dir: PathBuf,
    #[command(flatten, next_help_heading = "Options for one run in place of the cases")]
    scene: SceneArgs,
}

/// What the loop waits for.
enum News {
    /// Something in the folder may have changed.
    Changed,
    /// The build ended.
    Built(std::io::Result<ExitStatus>),
    /// Whoever started it wants it to end.
    Stop,
}

/// What came of the last try.
#[derive(Default)]
struct Seen {
    /// Bytes of the component.
    size: u64,
    /// What came of each case or of the run, as text.
    came: BTreeMap<String, String>,
    /// What each used.
    fuel: BTreeMap<String, u64>,
}

pub fn dev(args: &DevArgs) -> Result<ExitCode> {
    let manifest_path = args.dir.join(plugins::MANIFEST);
    let given = args.scene.given();
    if !given.is_empty() && !args.scene.says_what() {
        let text = format!(
            "{} would change nothing while the cases run; with --settings, --kind or --grant one run takes their place",
            given.join(", ")
        );
        return Err(Usage(text).into());
    }
    // What is wrong with it is said before anything is watched; later it is a mistake that is being mended.
    manifest(&manifest_path)?;
    let (sender, news) = channel();
    stop_on_signal(sender.clone())?;
    let mut sources = Sources::watch(&args.dir, {
        let sender = sender.clone();
        move || {
            let _ = sender.send(News::Changed);
        }
    })?;
    put(&format!("watching {}; Ctrl-C ends it\n", args.dir.display()))?;
    let mut seen = None;
    loop {
        let built_from = sources.look()?;
        match round(args, &manifest_path, &sender, &news) {
            Ok(Round::Stopped) => return Ok(ExitCode::SUCCESS),
            Ok(Round::NotBuilt) => {}
            Ok(Round::Built) => match try_out(args) {
                Ok(now) => {
                    put(&changes(seen.as_ref(), &now)?)?;
                    seen = Some(now);
                }
                Err(error) => say(&format!("{error:#}"))?,
            },
            Err(error) => say(&format!("{error:#}"))?,
        }
        // Before anything is waited for: the news of what was saved during the build came then.
        while sources.look()? == built_from {
            match news.recv() {
                Ok(News::Stop) | Err(_) => return Ok(ExitCode::SUCCESS),
                Ok(News::Built(_) | News::Changed) => {}
            }
            if !settled(&news) {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Waits until nothing has changed for a moment. False: it is to end.
fn settled(news: &Receiver<News>) -> bool {
    loop {
        match news.recv_timeout(QUIET) {
            Ok(News::Changed | News::Built(_)) => {}
            Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => return true,
        }
    }
}

fn say(text: &str) -> Result<()> {
    let on = telemetry::stdout_colored();
    let word = Paint {
        text: "failed",
        code: RED,
        on,
    };
    put(&format!("{word}  {}\n", text.trim_end()))
}

fn manifest(path: &Path) -> Result<Manifest> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Manifest::parse(&text).map_err(|problems| anyhow!("{}: {problems}", path.display()))
}

enum Round {
    Built,
    NotBuilt,
    Stopped,
}

/// Builds it, if anybody has said how.
fn round(
    args: &DevArgs,
    manifest_path: &Path,
    sender: &Sender<News>,
    news: &Receiver<News>,
) -> Result<Round> {
    let manifest = manifest(manifest_path)?;
    let Some(build) = &manifest.build else {
        return Ok(Round::Built);
    };
    let words = build.command.join(" ");
    put(&format!("building: {words}\n"))?;
    let group = start(build, &args.dir, sender).with_context(|| format!("`{words}` can't be started"))?;
    let mut stopped = false;
    let status = loop {
        match news.recv()? {
            News::Built(status) => break status?,
            // What changes meanwhile is seen when it is compared.
            News::Changed => {}
            News::Stop => {
                // Who asks twice has waited long enough.
                let signal = if stopped { Signal::KILL } else { Signal::TERM };
                stopped = true;
                // The child may have ended just now.
                let _ = kill_process_group(group, signal);
            }
        }
    };
    if stopped {
        return Ok(Round::Stopped);
    }
    if !status.success() {
        say(&format!(
            "`{words}` ended with {status}; waiting for the next change"
        ))?;
        return Ok(Round::NotBuilt);
    }
    if let Some(output) = &build.output {
        let (from, to) = (args.dir.join(output), args.dir.join(&manifest.component));
        if from != to {
            std::fs::copy(&from, &to)
                .with_context(|| format!("`{words}` was to make {}, and it is not there", from.display()))?;
        }
    }
    Ok(Round::Built)
}

/// In a process group of its own, so that all of it can be ended. What it says is shown as it comes.
fn start(build: &Build, dir: &Path, sender: &Sender<News>) -> Result<Pid> {
    let (program, arguments) = build.command.split_first().context("names no program")?;
    let child = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()?;
    let group = Pid::from_child(&child);
    let sender = sender.clone();
    std::thread::Builder::new()
        .name("build".to_owned())
        .spawn(move || wait(child, &sender))?;
    Ok(group)
}

fn wait(mut child: Child, sender: &Sender<News>) {
    let _ = sender.send(News::Built(child.wait()));
}

/// Has the loop end at Ctrl-C and SIGTERM, and told of each.
fn stop_on_signal(sender: Sender<News>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupted, mut terminated) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupted.recv() => {}
                        _ = terminated.recv() => {}
                    }
                    if sender.send(News::Stop).is_err() {
                        return;
                    }
                }
            });
        })?;
    Ok(())
}

/// Runs the cases, or what the flags say.
fn try_out(args: &DevArgs) -> Result<Seen> {
    let trial = Trial::load(&args.dir, args.scene.memory_bytes())?;
    let mut seen = Seen {
        size: trial.plugin()?.size_bytes as u64,
        ..Seen::default()
    };
    let files = test::files(&test::folder(&args.dir), &[]);
    if let (false, Ok(files)) = (args.scene.says_what(), files) {
        let report = test::run_all(&args.dir, trial, &files)?;
        for (name, text, fuel) in report.each()? {
            seen.came.insert(name.clone(), text);
            seen.fuel.extend(fuel.map(|fuel| (name, fuel)));
        }
        return Ok(seen);
    }
    let scene = args.scene.scene(&trial)?;
    let course = Arc::new(Course::Noted(Notes::new(
        Clock::system(),
        NOTES_BYTES_MAX,
        Repeat::Nothing,
    )));
    let ran = trial.run(&scene, Some(&course))?;
    let name = trial.name.to_string();
    seen.came
        .insert(name.clone(), run::steady(&ran, &course.noted().0));
    seen.fuel.insert(name, ran.usage.fuel);
    Ok(seen)
}

/// What is different from the last time; everything the first time.
fn changes(before: Option<&Seen>, now: &Seen) -> Result<String> {
    let on = telemetry::stdout_colored();
    let mut text = String::new();
    let out = &mut text;
    let old_size = before.map(|before| before.size);
    writeln!(out, "{} bytes{}", grouped(now.size), since(old_size, now.size))?;
    for (name, came) in &now.came {
        let old = before.and_then(|before| before.came.get(name));
        let fuel = now.fuel.get(name).copied().unwrap_or_default();
        let old_fuel = before.and_then(|before| before.fuel.get(name)).copied();
        let shown = Paint {
            text: name,
            code: BOLD,
            on,
        };
        writeln!(out, "{shown}: {} fuel{}", grouped(fuel), since(old_fuel, fuel))?;
        match old {
            Some(old) if old == came => {
                let first = came.lines().next().unwrap_or_default();
                writeln!(out, "    as before: {first}")?;
            }
            Some(old) => {
                for line in diff::lines(old, came) {
                    let (sign, text, code) = match line {
                        Line::Same(_) => continue,
                        Line::Wanted(text) => ('-', text, RED),
                        Line::Got(text) => ('+', text, GREEN),
                    };
                    let line = format!("{sign} {text}");
                    writeln!(
                        out,
                        "  {}",
                        Paint {
                            text: &line,
                            code,
                            on
                        }
                    )?;
                }
            }
            None => came.lines().try_for_each(|line| writeln!(out, "    {line}"))?,
        }
    }
    for name in before.iter().flat_map(|before| before.came.keys()) {
        if !now.came.contains_key(name) {
            writeln!(out, "{name}: is gone")?;
        }
    }
    Ok(text)
}

fn since(before: Option<u64>, now: u64) -> String {
    match before {
        None => String::new(),
        Some(before) if before == now => " (as before)".to_owned(),
        Some(before) if before < now => format!(" (+{})", grouped(now - before)),
        Some(before) => format!(" (-{})", grouped(before - now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_different_is_shown() {
        let seen = |came: &str, fuel, size| Seen {
            size,
            came: [("shop".to_owned(), came.to_owned())].into(),
            fuel: [("shop".to_owned(), fuel)].into(),
        };
        let first = changes(None, &seen("ok\nsame", 1_000, 10)).unwrap();
        assert_eq!(first, "10 bytes\nshop: 1,000 fuel\n    ok\n    same\n");
        let before = seen("ok\nsame", 1_000, 10);
        let next = changes(Some(&before), &seen("failed\nsame", 900, 12)).unwrap();
        assert_eq!(next, "12 bytes (+2)\nshop: 900 fuel (-100)\n  - ok\n  + failed\n");
        let same = changes(Some(&before), &seen("ok\nsame", 1_000, 10)).unwrap();
        assert_eq!(
            same,
            "10 bytes (as before)\nshop: 1,000 fuel (as before)\n    as before: ok\n"
        );
    }
}
