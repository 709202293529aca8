//! `cargo xtask test`: everything that CI checks, what fails fast first. Nothing is skipped in CI; on a person's machine
//! the step `browser` is, and says so, where there is no browser.

use crate::{
    browser,
    demo::{
        self,
        options::{Options, Ports},
    },
    dist, plugins,
    setup::{self, WASM_TARGET},
    shell,
    stopwatch::Stopwatch,
    templates, tidy,
};
use anyhow::{Result, bail};
use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

/// Where each workspace is, from the root.
const ROOT: &str = "Cargo.toml";
const PLUGINS: &str = "plugins/Cargo.toml";
const GUESTS: &str = "tests/guests/Cargo.toml";

/// How long the demo may take to show its first colors. A person sees them within 30 s; a busy CI machine first
/// compiles the plugins' components.
const DEMO_WITHIN: Duration = Duration::from_secs(120);
const DEMO_SHOWS: &[&str] = &["yellow", "cyan", "green"];

/// A step says what it is worth in one remark, which may be empty.
type Step = (&'static str, fn() -> Result<String>);

const STEPS: &[Step] = &[
    ("set-up", || setup::run().map(quiet)),
    ("format", || format().map(quiet)),
    ("tidy", || tidy::run().map(quiet)),
    ("clippy", || clippy(ROOT, &["--all-targets"]).map(quiet)),
    ("clippy, plugins", || {
        clippy(PLUGINS, &["--all-targets"]).map(quiet)
    }),
    ("clippy, guests", || {
        clippy(GUESTS, &["--target", WASM_TARGET]).map(quiet)
    }),
    ("build plugins", || {
        plugins::build(&[], plugins::Lock::Fixed).map(quiet)
    }),
    ("build guests", || {
        plugins::build_guests(plugins::Lock::Fixed).map(quiet)
    }),
    ("build host", || host().map(|_| String::new())),
    ("test", || tests(ROOT, &["--lib", "--bins", "--tests"])),
    ("test, docs", || tests(ROOT, &["--doc"])),
    ("test, plugins", || {
        tests(PLUGINS, &["--lib", "--bins", "--tests"])
    }),
    ("test, guide", || guide().map(quiet)),
    ("package SDK", || package_sdk().map(quiet)),
    ("templates", || templates::check(&host()?, &[])),
    ("dist", dist::step),
    ("browser", browser::step),
    ("demo", show),
];

/// The tests of the plugin that the guide shows; the other guests are no use natively.
fn guide() -> Result<()> {
    let mut command = shell::cargo(&["test", "--locked", "--manifest-path", GUESTS])?;
    own_target(&mut command, GUESTS);
    shell::run(command.args(["--package", "fetch", "--lib"]))
}

/// What `cargo publish` would send builds by itself. Offline, and with what lies here, committed or not.
fn package_sdk() -> Result<()> {
    let package = ["--package", "pulse-plugin-sdk"];
    let mut command = shell::cargo(&["package", "--locked", "--offline", "--allow-dirty"])?;
    shell::run(command.args(package))
}

fn quiet((): ()) -> String {
    String::new()
}

/// Runs every step up to the first that fails, and says how long each took.
pub fn run() -> Result<ExitCode> {
    let whole = Stopwatch::start();
    let mut rows = Vec::new();
    let mut failure = None;
    for (name, step) in STEPS {
        if failure.is_some() {
            rows.push(row(name, None, "not run"));
            continue;
        }
        eprintln!("\n== {name}");
        let stopwatch = Stopwatch::start();
        let result = step();
        let took = Some(stopwatch.elapsed());
        match result {
            Ok(remark) => rows.push(row(name, took, &format!("ok {remark}"))),
            Err(error) => {
                eprintln!("xtask: {name}: {error:#}");
                rows.push(row(name, took, "FAILED"));
                failure = Some((name, error));
            }
        }
    }
    println!();
    for row in rows {
        println!("{row}");
    }
    println!("{}", row("in all", Some(whole.elapsed()), ""));
    if let Some((name, error)) = failure {
        println!("failed at {name}: {error:#}");
        return Ok(ExitCode::FAILURE);
    }
    println!("all {} steps passed", STEPS.len());
    Ok(ExitCode::SUCCESS)
}

fn row(name: &str, took: Option<Duration>, remark: &str) -> String {
    let took = took.map_or_else(String::new, |span| format!("{:.1} s", span.as_secs_f64()));
    format!("{name:<16} {took:>9}  {remark}").trim_end().to_owned()
}

fn format() -> Result<()> {
    for manifest in [ROOT, PLUGINS, GUESTS] {
        shell::run(&mut shell::cargo(&[
            "fmt",
            "--all",
            "--check",
            "--manifest-path",
            manifest,
        ])?)?;
    }
    Ok(())
}

fn clippy(manifest: &str, what: &[&str]) -> Result<()> {
    let mut command = shell::cargo(&["clippy", "--locked", "--workspace", "--manifest-path", manifest])?;
    own_target(&mut command, manifest);
    shell::run(command.args(what).args(["--", "-D", "warnings"]))
}

/// Plugins and guests keep to their own target directories: the shared one of the environment would mix their
/// artefacts with the host's.
fn own_target(command: &mut Command, manifest: &str) {
    if let Some(folder) = manifest.strip_suffix("/Cargo.toml") {
        command.arg("--target-dir").arg(format!("{folder}/target"));
    }
}

fn tests(manifest: &str, what: &[&str]) -> Result<String> {
    let mut command = shell::cargo(&["test", "--locked", "--workspace", "--manifest-path", manifest])?;
    own_target(&mut command, manifest);
    let mut count = Count::default();
    shell::run_lines(command.args(what), |line| count.take(line))?;
    // Documentation may show what can't be compiled, such as a part of a file; a test has no such excuse.
    if count.ignored > count.run_by_others && !what.contains(&"--doc") {
        bail!("{} tests are ignored, and CI skips none", count.ignored);
    }
    Ok(format!("{} passed", count.passed))
}

/// What `test result:` lines add up to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    ignored: u64,
    /// Of those, tests that say which other test runs them.
    run_by_others: u64,
}

impl Count {
    fn take(&mut self, line: &str) {
        // Such a test is the other half of one that starts it in a process of its own.
        if line.contains(" ... ignored, run by `") {
            self.run_by_others += 1;
        }
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in result.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse::<u64>().unwrap_or(0),
                Some((number, "ignored")) => self.ignored += number.parse::<u64>().unwrap_or(0),
                _ => {}
            }
        }
    }
}

/// The program, built with the features that the tests need of its dependencies too: alone it would be built with
/// fewer of them, and wasmtime twice.
fn host() -> Result<PathBuf> {
    demo::build_host_among(&["--locked", "--workspace", "--bins", "--tests"])
}

/// The demo as a person runs it, but with ports that nobody else has.
fn show() -> Result<String> {
    let program = host()?;
    let options = Options {
        seconds: Some(DEMO_WITHIN),
        expect: Some(DEMO_SHOWS.iter().map(|color| (*color).to_owned()).collect()),
        ports: Ports::Free,
    };
    if demo::watch(&demo::Scene::here()?, &options, Command::new(program))? != ExitCode::SUCCESS {
        bail!("pulse-host did not end with exit code 0");
    }
    Ok(DEMO_SHOWS.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test a::half ... ignored, run by `a::whole`",
            "test result: ok. 41 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.02s",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
            "9 passed",
        ] {
            count.take(line);
        }
        assert_eq!(
            count,
            Count {
                passed: 42,
                ignored: 1,
                run_by_others: 1,
            }
        );
    }

    #[test]
    fn rows_line_up() {
        let step = row("test", Some(Duration::from_millis(61_234)), "ok 42 passed");
        assert_eq!(step, "test                61.2 s  ok 42 passed");
        assert_eq!(row("demo", None, "not run").find("not"), step.find("ok"));
    }
}
