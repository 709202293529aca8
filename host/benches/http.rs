//! What an HTTP check on a new connection costs beside a native client, and beside Prometheus' prober.
//!
//! `cargo xtask bench http [--rounds N] [--json FILE]`. Each round runs every part once, one after the other, each in a
//! process of its own; medians and ratios of all rounds are told. The target is an nginx on loopback that answers at
//! once; 16 checks are under way at any time, each on a connection of its own.
//! - `native`: tokio and hyper on one thread: connect, send, read, close;
//! - `fresh`, `reuse`: one worker with the `http` plugin, a fresh instance for each check or one used a thousand times;
//!   the feeder is a thread of the same process and counts;
//! - `noted`: `fresh` with everything noted that a check does, as it is of the one check that may open an incident;
//! - `exporter`: `/probe` of the blackbox exporter, of which only the exporter's own CPU time counts.
//!
//! A program that is not installed is left out, with a word about it.

mod support;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use pulse_host::{
    app::Traces,
    clock::Clock,
    domain::{
        host::HostSettings,
        spec::{Class, MonitorSpec},
    },
};
use serde_json::{Value, json};
use std::{
    cell::Cell, collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, rc::Rc, sync::Arc, time::Duration,
};
use support::{
    Arguments,
    feeder::{Feeder, Pace},
    peer::{self, Peer},
    process::{self, Figures},
    report::{self, Round, figure, figures},
    setup,
};
use tokio::net::TcpStream;

/// Checks under way.
const WINDOW: usize = 16;
/// The feeder looks as often as the scheduler does, and has twice as many checks on their way: under way, or done and
/// not taken yet.
const RUN_GAP: Duration = Duration::from_millis(1);
const CHECKS: u64 = 60_000;
/// The exporter's probes take many times as long.
const PROBES: u64 = 8_000;
/// Jobs of one instance where it is used again.
const REUSE: u32 = 1_000;

fn main() -> Result<()> {
    let Some(arguments) = Arguments::parse()? else {
        return Ok(());
    };
    match arguments.subcommand.as_deref() {
        Some("native") => return native(&arguments),
        Some("fresh") => return checks(&arguments, 0, false),
        Some("noted") => return checks(&arguments, 0, true),
        Some("reuse") => return checks(&arguments, REUSE, false),
        Some(other) => bail!("there is no part `{other}`; there are native, fresh, noted and reuse"),
        None => {}
    }
    let Some(nginx) = peer::nginx()? else {
        return Ok(());
    };
    let exporter = peer::blackbox_exporter()?;
    let arguments = Arguments {
        target: Some(nginx.address.to_string()),
        ..arguments
    };
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        let mut parts = BTreeMap::new();
        for part in ["native", "fresh", "noted", "reuse"] {
            parts.insert(part, support::run_part(part, &arguments)?);
        }
        if let Some(exporter) = &exporter {
            parts.insert("exporter", probes(exporter, nginx.address)?);
        }
        rounds.push(parts);
    }
    let result = summary(&rounds, exporter.is_some())?;
    arguments.write(&result)
}

/// The address that a part was given.
fn target(arguments: &Arguments) -> Result<SocketAddr> {
    let target = arguments.target.as_deref().context("`--target` is missing")?;
    Ok(target.parse()?)
}

fn native(arguments: &Arguments) -> Result<()> {
    let target = target(arguments)?;
    let clock = Clock::system();
    let run = |checks: u64| {
        together(checks, move || async move {
            let stream = TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            let request = http::Request::get("/")
                .header("host", target.to_string())
                .header("user-agent", "native")
                .header("accept", "*/*")
                .header("connection", "close")
                .body(Empty::<Bytes>::new())?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let exchange = async move {
                let answer = sender.send_request(request).await?;
                let status = answer.status();
                let body = answer.into_body().collect().await?.to_bytes();
                if status != 200 || body.is_empty() {
                    bail!("{status}");
                }
                Ok(())
            };
            let (exchanged, _) = tokio::join!(exchange, connection);
            exchanged
        })
    };
    run(CHECKS / 10)?;
    let (before, since) = (Figures::now()?, clock.mono());
    run(CHECKS)?;
    let (elapsed, after) = (clock.mono().since(since), Figures::now()?);
    arguments.report(&figures(CHECKS, elapsed, &after.since(&before)))
}

/// Does that many things, [`WINDOW`] of them at any time, on one thread.
fn together<F: Future<Output = Result<()>> + 'static>(
    count: u64,
    thing: impl Fn() -> F + Clone + 'static,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let left = Rc::new(Cell::new(count));
        let loops: Vec<_> = (0..WINDOW)
            .map(|_| {
                let (left, thing) = (Rc::clone(&left), thing.clone());
                tokio::task::spawn_local(async move {
                    while left.get() > 0 {
                        left.set(left.get() - 1);
                        thing().await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for each in loops {
            each.await??;
        }
        Ok(())
    })
}

fn checks(arguments: &Arguments, reuse: u32, noted: bool) -> Result<()> {
    let target = target(arguments)?;
    let mut settings = HostSettings::new(process::scratch()?);
    settings.workers = Some(NonZeroUsize::MIN);
    let clock = Clock::system();
    let (sandbox, library) = setup::load(&settings, &clock, &[support::plugin("http")?])?;
    if noted {
        sandbox.kept_by(Traces::start(&settings.data_dir, clock.clone())?);
    }
    let class = Arc::new(class(reuse));
    let specs = (0..1_000).map(|number| monitor(number, target, &class)).collect();
    let mut feeder = Feeder::start(
        sandbox,
        library,
        &settings,
        clock.clone(),
        specs,
        Pace {
            window: WINDOW * 2,
            batch: WINDOW,
            gap: RUN_GAP,
        },
    )?;
    if noted {
        feeder.note();
    }
    feeder.feed(CHECKS / 10)?;
    let (before, since) = (Figures::now()?, clock.mono());
    feeder.feed(CHECKS)?;
    let (elapsed, after) = (clock.mono().since(since), Figures::now()?);
    feeder.stop()?;
    arguments.report(&figures(CHECKS, elapsed, &after.since(&before)))
}

fn monitor(number: u64, target: SocketAddr, class: &Arc<Class>) -> MonitorSpec {
    let settings = json!({ "url": format!("http://{target}/") }).to_string();
    let name = format!("monitor-{number}");
    MonitorSpec::new(Arc::clone(class), None, &name, Some(&settings))
}

fn class(reuse: u32) -> Class {
    let profile = setup::profile("http", setup::own_url_on_loopback(), reuse);
    setup::class(&profile, "{}", Duration::from_secs(5), Duration::from_secs(1))
}

/// Asks the exporter for probes, over connections that stay, and counts its CPU time.
fn probes(exporter: &Peer, target: SocketAddr) -> Result<Value> {
    eprintln!("exporter …");
    let address = exporter.address;
    let run = |probes: u64| {
        let sender: Rc<std::cell::RefCell<Vec<_>>> = Rc::default();
        together(probes, move || {
            let idle = Rc::clone(&sender);
            async move {
                let kept = idle.borrow_mut().pop();
                let mut sender = match kept {
                    Some(sender) => sender,
                    None => {
                        let stream = TcpStream::connect(address).await?;
                        let (sender, connection) =
                            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                        tokio::task::spawn_local(connection);
                        sender
                    }
                };
                let request = http::Request::get(format!("/probe?module=http_2xx&target=http://{target}/"))
                    .header("host", address.to_string())
                    .body(Empty::<Bytes>::new())?;
                let answer = sender.send_request(request).await?;
                let body = answer.into_body().collect().await?.to_bytes();
                if memchr::memmem::find(&body, b"\nprobe_success 1\n").is_none() {
                    bail!("the exporter's probe failed");
                }
                idle.borrow_mut().push(sender);
                Ok(())
            }
        })
    };
    let clock = Clock::system();
    run(PROBES / 10)?;
    let (before, since) = (process::cpu_of(exporter.id())?, clock.mono());
    run(PROBES)?;
    let (elapsed, after) = (clock.mono().since(since), process::cpu_of(exporter.id())?);
    let used = Figures {
        cpu: after - before,
        minor_faults: 0,
        rss_bytes: 0,
    };
    Ok(figures(PROBES, elapsed, &used))
}

/// Prints medians and ratios, and returns them.
fn summary(rounds: &[Round], with_exporter: bool) -> Result<Value> {
    let mut parts = vec!["native", "fresh", "noted", "reuse"];
    if with_exporter {
        parts.push("exporter");
    }
    let medians = report::medians(rounds, &parts)?;
    report::print(&medians, &parts)?;
    let mut result = json!({ "rounds": rounds.len(), "parts": medians });
    let mut ratios = vec![("fresh", "native"), ("reuse", "native"), ("noted", "fresh")];
    if with_exporter {
        ratios.extend([("exporter", "fresh"), ("exporter", "reuse")]);
    }
    for (part, to) in ratios {
        let ratio = report::median(rounds, |round| {
            Ok(figure(round, part, "cpu_us_per_job")? / figure(round, to, "cpu_us_per_job")?)
        })?;
        println!("{:48}{ratio:>8.2}", format!("CPU per check, {part} : {to}"));
        if let Value::Object(fields) = &mut result {
            fields.insert(format!("cpu_{part}_to_{to}"), json!(ratio));
        }
    }
    Ok(result)
}
