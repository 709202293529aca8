//! What the benchmarks share: arguments, parts in processes of their own, figures of a process.
#![allow(dead_code)] // Each benchmark uses its part of it.

pub mod feeder;
pub mod floor;
pub mod hostile;
pub mod live;
pub mod peer;
pub mod process;
pub mod report;
pub mod setup;
pub mod target;

use anyhow::{Context as _, Result, bail};
use pulse_host::sandbox::compile;
use serde_json::Value;
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// The command line of a benchmark.
pub struct Arguments {
    pub subcommand: Option<String>,
    pub rest: Vec<String>,
    pub seconds: u64,
    /// How often everything is measured, where medians are told.
    pub rounds: usize,
    pub monitors: usize,
    pub target_monitors: Option<usize>,
    /// Sizes to go through, if somebody has said some.
    pub rows: Option<Vec<usize>>,
    /// How often each thing is asked for.
    pub requests: usize,
    /// Where a part finds its target.
    pub target: Option<String>,
    pub json: Option<String>,
    /// Where a part puts its result.
    pub part_json: Option<String>,
}

impl Arguments {
    /// How many monitors there are where nobody says how many.
    pub const USUAL_MONITORS: usize = 10_000;

    /// Those of this process. None if it is the child that compiles a component, which it has done then.
    pub fn parse() -> Result<Option<Self>> {
        let parsed = Self::read()?;
        if parsed.subcommand.as_deref() != Some(compile::SUBCOMMAND) {
            return Ok(Some(parsed));
        }
        if compile::child_main(&parsed.rest) != std::process::ExitCode::SUCCESS {
            bail!("{} failed", compile::SUBCOMMAND);
        }
        Ok(None)
    }

    fn read() -> Result<Self> {
        let mut parsed = Self {
            subcommand: None,
            rest: Vec::new(),
            seconds: 60,
            rounds: 5,
            monitors: Self::USUAL_MONITORS,
            target_monitors: None,
            rows: None,
            requests: 200,
            target: None,
            json: None,
            part_json: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .with_context(|| format!("{argument} takes a value"))
            };
            match argument.as_str() {
                // What cargo adds.
                "--bench" => {}
                "--seconds" => parsed.seconds = value()?.parse()?,
                "--rounds" => parsed.rounds = value()?.parse()?,
                "--monitors" => parsed.monitors = value()?.parse()?,
                "--target-monitors" => parsed.target_monitors = Some(value()?.parse()?),
                "--rows" => {
                    let sizes = value()?;
                    parsed.rows = Some(sizes.split(',').map(str::parse).collect::<Result<_, _>>()?);
                }
                "--requests" => parsed.requests = value()?.parse()?,
                "--target" => parsed.target = Some(value()?),
                "--json" => parsed.json = Some(value()?),
                "--part-json" => parsed.part_json = Some(value()?),
                flag if flag.starts_with("--") => {
                    bail!(
                        "there is no {flag}; there are --seconds, --rounds, --monitors, --target-monitors, --rows, \
                         --requests and --json"
                    )
                }
                _ if parsed.subcommand.is_none() => parsed.subcommand = Some(argument),
                _ => parsed.rest.push(argument),
            }
        }
        Ok(parsed)
    }

    pub fn rows_or(&self, usual: &[usize]) -> Vec<usize> {
        self.rows.clone().unwrap_or_else(|| usual.to_vec())
    }

    pub fn target_monitors(&self) -> usize {
        self.target_monitors.unwrap_or(self.monitors)
    }

    /// Writes the whole result, if that was asked for.
    pub fn write(&self, result: &Value) -> Result<()> {
        let Some(path) = &self.json else {
            return Ok(());
        };
        std::fs::write(path, serde_json::to_string_pretty(result)?)
            .with_context(|| format!("{path} can't be written"))
    }

    /// A part's result, for the process that started it, or for whoever started the part by hand.
    pub fn report(&self, result: &Value) -> Result<()> {
        let text = serde_json::to_string_pretty(result)?;
        match &self.part_json {
            Some(path) => Ok(std::fs::write(path, text)?),
            None => {
                println!("{text}");
                Ok(())
            }
        }
    }
}

/// Runs one part as a child of this program.
pub fn run_part(part: &str, arguments: &Arguments) -> Result<Value> {
    eprintln!("{part} …");
    let path = process::scratch()?.join(format!("{part}.json"));
    let status = Command::new(std::env::current_exe()?)
        .arg(part)
        .args(["--seconds", &arguments.seconds.to_string()])
        .args(["--monitors", &arguments.monitors.to_string()])
        .args(["--target-monitors", &arguments.target_monitors().to_string()])
        .args(arguments.target.iter().flat_map(|target| ["--target", target]))
        .arg("--part-json")
        .arg(&path)
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("{part} failed: {status}");
    }
    Ok(serde_json::from_str(&std::fs::read_to_string(&path)?)?)
}

/// A guest of the tests, built by `cargo xtask plugins`.
pub fn guest(name: &str) -> Result<PathBuf> {
    built(format!("tests/guests/target/wasm32-wasip2/release/{name}.wasm"))
}

/// A plugin, built by `cargo xtask plugins`.
pub fn plugin(name: &str) -> Result<PathBuf> {
    built(format!("plugins/{name}/{name}.wasm"))
}

fn built(path: String) -> Result<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    path.canonicalize().with_context(|| {
        format!(
            "{} is missing; build it with `cargo xtask plugins`",
            path.display()
        )
    })
}
