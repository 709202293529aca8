//! `cargo xtask demo`: a service that goes down and can be healed, and pulse-host that watches it.

mod alerts;
mod child;
pub mod options;
mod outage;
mod owner;
mod service;

use crate::{plugins, setup, shell, stopwatch::Stopwatch};
use alerts::Alerts;
use anyhow::{Context as _, Result, bail};
use child::{Child, Ending};
use options::{Options, Ports};
use service::Service;
use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

/// The first outage comes that long after the first check: time to see that all is well.
const FIRST_OUTAGE: Duration = Duration::from_secs(8);
/// The next ones, counted from the end of the one before.
const NEXT_OUTAGE: Duration = Duration::from_secs(40);
/// The addresses in the quickstart, `pulse-host.toml`.
const SERVICE: (&str, u16) = ("127.0.0.1", 8080);
const CONTROL: (&str, u16) = ("127.0.0.1", 8081);
/// Where the quickstart writes its alerts, beside the configuration.
const ALERTS: &str = "alerts/alerts.ndjson";
/// Longer than the host's own grace period (`host.drain`, 10 s) and the rest of its way out.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// How often the alerts are looked at, when some are expected.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Builds everything and runs the demo until somebody ends it.
pub fn run(args: &[String]) -> Result<ExitCode> {
    let options = Options::parse(args)?;
    setup::run()?;
    plugins::build(&[], plugins::Lock::MayChange)?;
    let program = build_host()?;
    watch(&Scene::here()?, &options, Command::new(program))
}

/// Where the demo takes place.
pub struct Scene {
    /// Holds the quickstart and the plugins.
    root: PathBuf,
    /// Where a folder for a copy may be made.
    scratch: PathBuf,
}

impl Scene {
    /// In this repository.
    pub fn here() -> Result<Self> {
        Ok(Self {
            root: shell::root()?,
            scratch: std::env::temp_dir(),
        })
    }
}

/// Runs the demo with a program that is built already. Everybody who is waited for has a deadline, except a
/// person.
pub fn watch(scene: &Scene, options: &Options, program: Command) -> Result<ExitCode> {
    let stopwatch = Stopwatch::start();
    let service = Service::start(
        options.ports.bind(SERVICE)?,
        options.ports.bind(CONTROL)?,
        outage::Outage::new(FIRST_OUTAGE, NEXT_OUTAGE),
        stopwatch,
    )?;
    let stage = Stage::set(scene, options.ports, &service)?;
    explain(&service, &stage);
    let mut alerts = Alerts::from_now(&stage.folder.join(ALERTS));
    let mut child = Child::start(&mut stage.command(scene, program), STOP_WITHIN)?;
    let ending = loop {
        let seen = options.expect.is_some() && alerts.begin_with(options.expected())?;
        let end = options
            .seconds
            .map(|span| span.saturating_sub(stopwatch.elapsed()));
        if seen || end == Some(Duration::ZERO) {
            child.stop()?;
        }
        let most = match (&options.expect, end) {
            (Some(_), Some(end)) => Some(end.min(LOOK_EVERY)),
            (Some(_), None) => Some(LOOK_EVERY),
            (None, end) => end,
        };
        if let Some(ending) = child.wait(most)? {
            break ending;
        }
    };
    let verdict = judge(options, &mut alerts, ending);
    match (&verdict, &stage.temporary) {
        (Ok(_), Some(folder)) => std::fs::remove_dir_all(folder).context("removing the demo's copy")?,
        (Err(_), Some(folder)) => {
            eprintln!("demo: configuration and alerts are left in {}", folder.display());
        }
        (_, None) => {}
    }
    verdict
}

fn judge(options: &Options, alerts: &mut Alerts, ending: Ending) -> Result<ExitCode> {
    if options.expect.is_some() && !alerts.begin_with(options.expected())? {
        bail!(
            "the demo should have begun with the alerts {}; it sent: {}",
            options.expected().join(", "),
            alerts.seen()
        );
    }
    match ending {
        Ending::Code(code) => Ok(ExitCode::from(code)),
        Ending::Killed => bail!("pulse-host did not stop and was killed"),
    }
}

/// Where the configuration is and alerts go.
struct Stage {
    folder: PathBuf,
    /// Of the demo's own, to be removed.
    temporary: Option<PathBuf>,
    /// The intervention budget of the monitor, for people: attempts and their window.
    budget: Option<(i64, String)>,
}

impl Stage {
    /// The repository itself, as a person would run it; or a folder with a copy of the quickstart that names the
    /// service's ports.
    fn set(scene: &Scene, ports: Ports, service: &Service) -> Result<Self> {
        let quickstart = scene.root.join("pulse-host.toml");
        let text = std::fs::read_to_string(&quickstart)
            .with_context(|| format!("reading {}", quickstart.display()))?;
        let budget = budget(&text);
        if ports == Ports::Quickstart {
            return Ok(Self {
                folder: scene.root.clone(),
                temporary: None,
                budget,
            });
        }
        let text = readdress(&text, SERVICE, &service.address.to_string())?;
        let text = readdress(&text, CONTROL, &service.control.to_string())?;
        let name = format!(
            "pulse-host-demo-{}-{}",
            std::process::id(),
            service.address.port()
        );
        let folder = scene.scratch.join(name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("pulse-host.toml"), text)?;
        Ok(Self {
            temporary: Some(folder.clone()),
            folder,
            budget,
        })
    }

    fn command(&self, scene: &Scene, mut program: Command) -> Command {
        program.args(["--plugins", "./plugins"]).current_dir(&scene.root);
        if let Some(folder) = &self.temporary {
            program
                .arg("--config")
                .arg(folder.join("pulse-host.toml"))
                .env("STATE_DIRECTORY", folder.join("state"));
        }
        program
    }
}

/// What the first monitor's `intervention.budget` says, if it says both of its parts.
fn budget(text: &str) -> Option<(i64, String)> {
    let table: toml::Table = text.parse().ok()?;
    let monitor = table.get("monitor")?.as_array()?.first()?;
    let budget = monitor.get("intervention")?.get("budget")?;
    Some((
        budget.get("attempts")?.as_integer()?,
        budget.get("per")?.as_str()?.to_owned(),
    ))
}

fn readdress(text: &str, (host, port): (&str, u16), to: &str) -> Result<String> {
    let from = format!("{host}:{port}");
    if !text.contains(&from) {
        bail!("pulse-host.toml does not name {from}, where the demo's service is meant to be");
    }
    Ok(text.replace(&from, to))
}

/// Builds the program alone and says where cargo put it.
fn build_host() -> Result<PathBuf> {
    build_host_among(&["--package", "pulse-host", "--bin", "pulse-host"])
}

/// Builds the program among whatever else these arguments of `cargo build` name.
pub fn build_host_among(what: &[&str]) -> Result<PathBuf> {
    let mut command = shell::cargo(&["build", "--message-format", "json-render-diagnostics"])?;
    built(command.args(what))
}

/// Runs a command of cargo's that builds the program and tells of it in JSON. Says where the program is.
pub fn built(command: &mut Command) -> Result<PathBuf> {
    eprintln!("+ {}", shell::words(command));
    executable(&shell::output(command)?).context("cargo did not say where it put pulse-host")
}

fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| {
            let says = |pointer, value| message.pointer(pointer) == Some(&value);
            // The same target is also built as a program of its unit tests.
            says("/target/name", "pulse-host".into()) && says("/profile/test", false.into())
        })
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
}

fn explain(service: &Service, stage: &Stage) {
    let limit = match &stage.budget {
        Some((attempts, per)) => format!(
            "\nThe configuration allows {attempts} interventions per {per}. Once they are spent it stays red, until \
             you restart the\nservice yourself: curl -X POST http://{}/restart",
            service.control
        ),
        None => String::new(),
    };
    println!(
        "
A small service answers on http://{service}/, and pulse-host checks it every second.
About {first} seconds after the first check it goes down. Then you should see, within a few seconds:

  yellow  the first check that failed
  cyan    an intervention restarted the service (POST http://{control}/restart); checks must confirm it
  green   the service is healthy again

About {next} seconds later it goes down again, and so on.{limit}
The alerts are also written to {alerts}. Ctrl-C ends the demo.
",
        alerts = stage.folder.join(ALERTS).display(),
        service = service.address,
        control = service.control,
        first = FIRST_OUTAGE.as_secs(),
        next = NEXT_OUTAGE.as_secs(),
    );
}

#[cfg(test)]
mod tests;
