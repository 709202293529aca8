//! The API beside the scheduler: how long lists of many monitors take while these are checked, and what that costs the checks.
//!
//! `cargo xtask bench api [--rows 100000,1000000] [--seconds N] [--requests N] [--json FILE]`. For each size the program itself
//! runs twice on a configuration of so many monitors every 30 seconds, with its store:
//! 1. without the API, for its memory;
//! 2. with it: left alone for some seconds, then asked over one connection, one request after the other.

mod support;

use anyhow::{Context as _, Result, bail};
use pulse_host::clock::Clock;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use support::{
    Arguments,
    live::{self, Api, Client, Lateness, Live},
};

/// Every monitor is checked once in that time, and what was needed to start is given back.
const WARM_UP: Duration = Duration::from_secs(40);
/// What a list may take: p99.
const GOAL_MS: f64 = 50.0;

/// What is asked for, and how that is called.
const ASKED: [(&str, &str); 11] = [
    ("list by name", "/api/v1/monitors?limit=100"),
    ("list, the worst first", "/api/v1/monitors?limit=100&sort=state"),
    ("list, what changed last", "/api/v1/monitors?limit=100&sort=since"),
    ("those that are down", "/api/v1/monitors?limit=100&state=down"),
    ("one label", "/api/v1/monitors?limit=100&selector=site%3Dsite-007"),
    (
        "two labels, one a pattern",
        "/api/v1/monitors?limit=100&selector=team%3Dshops,site%3D~%22site-00.%22",
    ),
    ("search", "/api/v1/monitors?limit=100&search=r-0000012"),
    ("summary by 1,000 values", "/api/v1/monitors/summary?by=site"),
    ("summary by tenant", "/api/v1/monitors/summary?by=tenant"),
    ("names of labels", "/api/v1/labels"),
    ("one monitor", "/api/v1/monitors/default/monitor-00000042"),
];

fn main() -> Result<()> {
    let Some(arguments) = Arguments::parse()? else {
        return Ok(());
    };
    if let Some(part) = &arguments.subcommand {
        bail!("there is no part `{part}`; this benchmark has none");
    }
    let mut sizes = Vec::new();
    for rows in arguments.rows_or(&[100_000, 1_000_000]) {
        eprintln!("{rows} monitors …");
        let folder = live::configured(&format!("api-{rows}"), rows, rows / 1_000, "30s")?;
        let without = without(&folder)?;
        let with = with(&folder, &arguments)?;
        std::fs::remove_dir_all(&folder)?;
        sizes.push(json!({ "rows": rows, "without": without, "with": with }));
    }
    let result = json!({ "sizes": sizes, "requests_each": arguments.requests });
    print(&result)?;
    arguments.write(&result)
}

fn memory(live: &Live) -> Result<Value> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (now, most) = live.rss_bytes()?;
    Ok(json!({ "rss_mib": mib(now), "rss_mib_max": mib(most) }))
}

fn without(folder: &Path) -> Result<Value> {
    let mut live = Live::start(folder, &live::plugins()?, Api::Off)?;
    std::thread::sleep(WARM_UP);
    live.check()?;
    let memory = memory(&live)?;
    live.stop()?;
    Ok(memory)
}

fn with(folder: &Path, arguments: &Arguments) -> Result<Value> {
    let mut live = Live::start(folder, &live::plugins()?, Api::On)?;
    std::thread::sleep(WARM_UP);
    live.check()?;
    let mut client = live.client()?;
    let at_rest = memory(&live)?;
    let clock = Clock::system();
    let quiet = watched(&live, &mut client, &clock, |_| {
        std::thread::sleep(Duration::from_secs(arguments.seconds));
        Ok(Value::Null)
    })?;
    let asked = watched(&live, &mut client, &clock, |client| {
        let mut kinds = Vec::new();
        for (what, path) in ASKED {
            kinds.push(ask(client, &clock, what, arguments.requests, |_| {
                path.to_owned()
            })?);
        }
        for (what, order) in [("pages by name", "name"), ("pages, the worst first", "state")] {
            let first = format!("/api/v1/monitors?limit=100&sort={order}");
            kinds.push(ask(
                client,
                &clock,
                what,
                arguments.requests,
                |before| match before["next"].as_str() {
                    Some(next) => format!("{first}&cursor={}", encoded(next)),
                    None => first.clone(),
                },
            )?);
        }
        Ok(Value::Array(kinds))
    })?;
    let afterwards = memory(&live)?;
    let ready = live.ready;
    live.stop()?;
    let ratio = |path: &str| {
        let of = |phase: &Value| phase.pointer(path).and_then(Value::as_f64);
        Some(of(&asked)? / of(&quiet)?)
    };
    Ok(json!({
        "ready_seconds": ready.map(|span| span.as_secs_f64()),
        "at_rest": at_rest,
        "afterwards": afterwards,
        "lateness_p99_ratio": ratio("/lateness/p99_ms"),
        "lateness_mean_ratio": ratio("/lateness/mean_ms"),
        "quiet": quiet,
        "asked": asked,
    }))
}

/// How late checks were, and what the host took, while something was done.
fn watched(
    live: &Live,
    client: &mut Client,
    clock: &Clock,
    act: impl FnOnce(&mut Client) -> Result<Value>,
) -> Result<Value> {
    let (before, cpu, since) = (client.lateness()?, live.cpu()?, clock.mono());
    let requests = act(client)?;
    let late: Lateness = client.lateness()?.since(&before);
    let elapsed = clock.mono().since(since).as_secs_f64();
    Ok(json!({
        "seconds": elapsed,
        "jobs_per_second": late.count() / elapsed,
        "cores_used": live.cpu()?.saturating_sub(cpu).as_secs_f64() / elapsed,
        "lateness": {
            "mean_ms": late.mean_ms(),
            "p50_ms": late.quantile_ms(0.5),
            "p99_ms": late.quantile_ms(0.99),
        },
        "requests": requests,
    }))
}

/// Asks again and again, each time for what `path` makes of the answer before.
fn ask(
    client: &mut Client,
    clock: &Clock,
    what: &str,
    requests: usize,
    path: impl Fn(&Value) -> String,
) -> Result<Value> {
    let (mut took, mut bytes, mut answer) = (Vec::new(), 0, Value::Null);
    for _ in 0..requests {
        let path = path(&answer);
        let since = clock.mono();
        let said = client.get(&path)?;
        took.push(clock.mono().since(since));
        if said.status != 200 {
            bail!("{path}: {} {}", said.status, String::from_utf8_lossy(&said.body));
        }
        bytes = said.body.len();
        answer = serde_json::from_slice(&said.body)?;
    }
    took.sort_unstable();
    let at = |part: f64| {
        let place = (part * took.len() as f64).ceil() as usize;
        let span = took.get(place.saturating_sub(1).min(took.len().saturating_sub(1)));
        span.map(|span| span.as_secs_f64() * 1e3)
    };
    Ok(json!({
        "what": what,
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
        "bytes": bytes,
        "total": answer.get("total"),
    }))
}

/// A cursor as part of an address.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

fn print(result: &Value) -> Result<()> {
    for size in result["sizes"].as_array().into_iter().flatten() {
        let figure = |path: &str| {
            size.pointer(path)
                .and_then(Value::as_f64)
                .with_context(|| format!("{path} was not measured"))
        };
        println!("{} monitors every 30 s", size["rows"]);
        println!(
            "{:28}{:>10}{:>10}{:>10}{:>12}",
            "request", "p50 ms", "p99 ms", "max ms", "bytes"
        );
        for kind in size
            .pointer("/with/asked/requests")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let of = |key: &str| kind[key].as_f64().context(key.to_owned());
            println!(
                "{:28}{:>10.2}{:>10.2}{:>10.2}{:>12}{}",
                kind["what"].as_str().unwrap_or_default(),
                of("p50_ms")?,
                of("p99_ms")?,
                of("max_ms")?,
                of("bytes")?,
                if of("p99_ms")? > GOAL_MS {
                    "  over the goal of 50 ms"
                } else {
                    ""
                }
            );
        }
        println!("{:28}{:>10}{:>10}{:>10}", "", "alone", "asked", "ratio");
        for (what, key) in [
            ("lateness, mean (ms)", "lateness/mean_ms"),
            ("lateness, p50 (ms)", "lateness/p50_ms"),
            ("lateness, p99 (ms)", "lateness/p99_ms"),
            ("jobs/s", "jobs_per_second"),
            ("cores used", "cores_used"),
        ] {
            let (alone, asked) = (
                figure(&format!("/with/quiet/{key}"))?,
                figure(&format!("/with/asked/{key}"))?,
            );
            println!("{what:28}{alone:>10.2}{asked:>10.2}{:>10.2}", asked / alone);
        }
        println!(
            "RSS: {:.0} MiB without the API (at most {:.0}), {:.0} with it (at most {:.0}), {:.0} after these requests; \
             ready after {:.2} s\n",
            figure("/without/rss_mib")?,
            figure("/without/rss_mib_max")?,
            figure("/with/at_rest/rss_mib")?,
            figure("/with/at_rest/rss_mib_max")?,
            figure("/with/afterwards/rss_mib")?,
            figure("/with/ready_seconds")?,
        );
    }
    Ok(())
}
