//! `plugin bench`: what a plugin costs, cold and warm, and the limits that follow from it.

use super::scene::SceneArgs;
use crate::{
    app::{Measured, Spread, bench},
    cli::{Output, progress::grouped, put, put_json},
    config::{show_duration, show_size},
};
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::{fmt::Write as _, path::PathBuf, process::ExitCode, time::Duration};

pub const EXAMPLES: &str = "\
Examples:
  pulse-host plugin bench ./fetch --settings @settings.json --grant http=http://localhost:8080
  pulse-host plugin bench ./fetch --case ./fetch/tests/healthy.toml --count 1000
With --case the lent calls are answered as the case says, so that no network is needed and none is
measured.
Where the limits given are too small, it is measured with room, and the limits that follow do.
Exit code 0: every run came to a good end. 1: some did not, and the figures are those of failures;
or the limits given are too small.";

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// A component, or the folder of a plugin
    file: PathBuf,
    /// Runs of each kind
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Run this case in place of --settings and --grant
    #[arg(long, value_name = "FILE")]
    case: Option<PathBuf>,
    #[command(flatten)]
    scene: SceneArgs,
    /// How the result looks
    #[arg(long, value_enum, env = "PULSE_HOST_OUTPUT", default_value_t)]
    output: Output,
}

pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    let measured = bench(
        &args.file,
        args.scene.memory_bytes(),
        args.case.as_deref(),
        args.count,
        |trial| args.scene.scene(trial),
    )?;
    match args.output {
        Output::Text => put(&shown(&measured)?)?,
        Output::Json => put_json(&to_json(&measured))?,
    }
    Ok(if measured.bad.is_none() && measured.short.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn shown(measured: &Measured) -> Result<String> {
    let mut text = String::new();
    let out = &mut text;
    writeln!(
        out,
        "{} {} ({}), {} bytes, {} runs",
        measured.name, measured.version, measured.kind, measured.size_bytes, measured.count
    )?;
    if let Some((bad, why)) = &measured.bad {
        writeln!(out, "  {bad} runs came to no good end, the first: {why}")?;
    }
    if let Some(short) = &measured.short {
        writeln!(
            out,
            "  the limits given are too small: {short}; what follows had room"
        )?;
    }
    writeln!(out, "  cold")?;
    writeln!(out, "    compile           {:.1?}", measured.compile)?;
    writeln!(out, "    load from cache   {:.1?}", measured.load)?;
    writeln!(out, "    first run         {:.1?}", measured.first)?;
    writeln!(
        out,
        "  warm                {:>10} {:>10} {:>10} {:>10}",
        "min", "median", "p99", "max"
    )?;
    let time = |nanos: u64| format!("{:.1?}", Duration::from_nanos(nanos));
    let rows = [
        ("fresh: CPU", &measured.fresh.cpu),
        ("fresh: wall", &measured.fresh.wall),
        ("reused: CPU", &measured.reused.cpu),
        ("reused: wall", &measured.reused.wall),
    ];
    for (name, spread) in rows {
        row(out, name, spread, time)?;
    }
    row(out, "host calls", &measured.fresh.host, time)?;
    row(out, "fresh: fuel", &measured.fresh.fuel, grouped)?;
    row(out, "reused: fuel", &measured.reused.fuel, grouped)?;
    row(out, "peak memory, KiB", &measured.fresh.memory, |bytes| {
        grouped(bytes.div_ceil(1024))
    })?;
    writeln!(
        out,
        "\nLimits with room to spare, for the configuration:\n\n{}",
        suggested(measured)
    )?;
    Ok(text)
}

fn row(out: &mut String, name: &str, spread: &Spread, show: impl Fn(u64) -> String) -> std::fmt::Result {
    let [min, median, p99, max] = [spread.min, spread.median, spread.p99, spread.max].map(show);
    writeln!(out, "    {name:<17} {min:>10} {median:>10} {p99:>10} {max:>10}")
}

/// To be pasted.
fn suggested(measured: &Measured) -> String {
    let limits = measured.suggested();
    format!(
        "[plugins.{}]\nlimits = {{ fuel = {}, cpu = \"{}\", memory = \"{}\" }}\n",
        measured.name,
        limits.fuel,
        show_duration(limits.cpu),
        show_size(limits.memory_bytes)
    )
}

fn to_json(measured: &Measured) -> Value {
    let spread = |spread: &Spread| json!({ "min": spread.min, "median": spread.median, "p99": spread.p99, "max": spread.max });
    let limits = measured.suggested();
    json!({
        "plugin": &*measured.name,
        "version": measured.version,
        "kind": measured.kind.name(),
        "size_bytes": measured.size_bytes,
        "count": measured.count,
        "bad": measured.bad.as_ref().map_or(0, |(bad, _)| *bad),
        "too_small": measured.short,
        "compile_seconds": measured.compile.as_secs_f64(),
        "load_seconds": measured.load.as_secs_f64(),
        "first_run_seconds": measured.first.as_secs_f64(),
        "fresh_cpu_nanoseconds": spread(&measured.fresh.cpu),
        "fresh_wall_nanoseconds": spread(&measured.fresh.wall),
        "reused_cpu_nanoseconds": spread(&measured.reused.cpu),
        "reused_wall_nanoseconds": spread(&measured.reused.wall),
        "host_nanoseconds": spread(&measured.fresh.host),
        "fuel": spread(&measured.fresh.fuel),
        "reused_fuel": spread(&measured.reused.fuel),
        "peak_memory_bytes": spread(&measured.fresh.memory),
        "suggested": {
            "fuel": limits.fuel,
            "cpu_seconds": limits.cpu.as_secs_f64(),
            "memory_bytes": limits.memory_bytes,
            "toml": suggested(measured),
        },
    })
}
