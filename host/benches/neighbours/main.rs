//! What strangers' plugins cost their neighbours: honest tenants alone, then beside hostile ones, in the same run.
//!
//! `cargo xtask bench neighbours [--seconds N] [--target-monitors N] [--json FILE]`. One host, three times in a row:
//! 1. `alone`: the honest monitors, 1,000 unless told otherwise, once a second each: four in five are the no-op
//!    component, one in five asks a server on loopback (another process) that answers after 50 ms;
//! 2. `beside`: the same, and five hostile tenants who run every case of `tests/guests/hostile.toml`, once a second each;
//! 3. `after`: the hostile ones are gone again; ten seconds later memory and descriptors are looked at.
//!
//! Who came to what, and how late, is seen between the workers and the scheduler: every result passes through here. Also
//! told, each in a part of its own: `budget`, how long a guest lives beyond its budget of CPU time and how soon its slot
//! is used again; `leaks`, two tenants who take turns in the same slots and look for what the other one left.

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod crowd;
mod watched;

use anyhow::{Result, bail};
use pulse_host::clock::Clock;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use support::{Arguments, hostile, process, target};
use watched::{Host, descriptors};

/// Honest monitors, unless told otherwise.
const HONEST: usize = 1_000;
/// How often each monitor is checked.
const EVERY: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let Some(mut arguments) = Arguments::parse()? else {
        return Ok(());
    };
    match arguments.subcommand.as_deref() {
        Some(target::SUBCOMMAND) => return target::serve(),
        Some("neighbours") => return neighbours(&arguments),
        Some("budget") => return alone::budget(&arguments),
        Some("leaks") => return alone::leaks(&arguments),
        Some(other) => bail!("there is no part `{other}`; there are neighbours, budget and leaks"),
        None => {}
    }
    arguments.monitors = arguments.target_monitors.unwrap_or(HONEST);
    let mut parts = serde_json::Map::new();
    for part in ["budget", "leaks", "neighbours"] {
        parts.insert(part.to_owned(), support::run_part(part, &arguments)?);
    }
    let result = Value::Object(parts);
    print(&result);
    arguments.write(&result)
}

/// The project's folder.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn neighbours(arguments: &Arguments) -> Result<()> {
    let count = arguments.monitors;
    let clock = Clock::system();
    let cases = hostile::table(root())?;
    let server = target::start()?;
    let (targets, _refusing) = crowd::targets(&server)?;
    let good = crowd::honest(count, &server);
    let bad = crowd::hostile(&cases, &targets);
    let (hostile_monitors, kinds) = (bad.len(), cases.len());
    let host = Host::start(cases, good.clone(), &clock)?;
    let alone = host.watch(arguments.seconds)?;
    host.reload(good.iter().cloned().chain(bad).collect())?;
    let beside = host.watch(arguments.seconds)?;
    host.reload(good)?;
    std::thread::sleep(Duration::from_secs(10));
    let after = json!({"rss_bytes": process::rss_bytes()?, "descriptors": descriptors()?});
    host.stop()?;
    arguments.report(&json!({
        "honest_monitors": count,
        "hostile_monitors": hostile_monitors,
        "cases": kinds,
        "alone": alone,
        "beside": beside,
        "after": after,
    }))
}

fn print(result: &Value) {
    let text = |path: &str| match result.pointer(path) {
        Some(Value::Number(number)) => number.as_f64().map_or_else(
            || "-".to_owned(),
            |number| {
                if number.fract() == 0.0 {
                    format!("{number}")
                } else {
                    format!("{number:.2}")
                }
            },
        ),
        _ => "-".to_owned(),
    };
    println!("{:<44}{:>14}{:>14}", "", "alone", "beside");
    for (what, key) in [
        ("honest checks", "honest/checks"),
        ("of them not healthy", "honest/not_healthy"),
        ("lost", "lost"),
        ("lateness p50 (ms)", "honest/lateness_p50_ms"),
        ("lateness p99 (ms)", "honest/lateness_p99_ms"),
        ("lateness p99.9 (ms)", "honest/lateness_p999_ms"),
        ("due to finished p99 (ms)", "honest/total_p99_ms"),
        ("hostile executions", "hostile/executions"),
        ("of them not run in time", "hostile/expired"),
        ("beyond CPU budget p99 (ms)", "hostile/beyond_cpu_budget_p99_ms"),
        ("cores used", "cpu_cores"),
        ("RSS (bytes)", "rss_bytes"),
        ("descriptors", "descriptors"),
    ] {
        let of = |part: &str| text(&format!("/neighbours/{part}/{key}"));
        println!("{what:<44}{:>14}{:>14}", of("alone"), of("beside"));
    }
    println!();
    for (what, path) in [
        ("ten seconds after: RSS (bytes)", "/neighbours/after/rss_bytes"),
        ("ten seconds after: descriptors", "/neighbours/after/descriptors"),
        (
            "alone: beyond CPU budget p99 (ms)",
            "/budget/beyond_cpu_budget_p99_ms",
        ),
        (
            "slot used again after a deadline p99 (ms)",
            "/budget/slot_used_again_p99_ms",
        ),
        ("cycles of two tenants in two slots", "/leaks/cycles"),
        (
            "of them that saw the other's marks",
            "/leaks/marks_of_others_seen",
        ),
    ] {
        println!("{what:<58}{:>14}", text(path));
    }
    let wrong = result
        .pointer("/neighbours/beside/wrong")
        .and_then(Value::as_array);
    for each in wrong.into_iter().flatten() {
        println!("misclassified: {each}");
    }
}
