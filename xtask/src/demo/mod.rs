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
    path::{Path, PathBuf},
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
    watch(&options, &program)
}

/// Runs the demo with what is built already. Everybody who is waited for has a deadline, except a person.
pub fn watch(options: &Options, program: &Path) -> Result<ExitCode> {
    let root = shell::root()?;
    let stopwatch = Stopwatch::start();
    let service = Service::start(
        options.ports.bind(SERVICE)?,
        options.ports.bind(CONTROL)?,
        outage::Outage::new(FIRST_OUTAGE, NEXT_OUTAGE),
        stopwatch,
    )?;
    let stage = match options.ports {
        Ports::Quickstart => Stage::here(&root),
        Ports::Free => Stage::copy(&root, &service)?,
    };
    explain(&service);
    let mut alerts = Alerts::from_now(&stage.folder.join(ALERTS));
    let mut child = Child::start(&mut stage.command(&root, program), STOP_WITHIN)?;
    let code = loop {
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
    let verdict = judge(options, &mut alerts, &code);
    match (&verdict, &stage.temporary) {
        (Ok(_), Some(folder)) => std::fs::remove_dir_all(folder).context("removing the demo's copy")?,
        (Err(_), Some(folder)) => {
            eprintln!("demo: configuration and alerts are left in {}", folder.display())
        }
        (_, None) => {}
    }
    verdict
}

fn judge(options: &Options, alerts: &mut Alerts, ending: &Ending) -> Result<ExitCode> {
    if options.expect.is_some() && !alerts.begin_with(options.expected())? {
        bail!(
            "the demo should have begun with the alerts {}; it sent: {}",
            options.expected().join(", "),
            alerts.seen()
        );
    }
    match ending {
        Ending::Code(code) => Ok(ExitCode::from(*code)),
        Ending::Killed => bail!("pulse-host did not stop and was killed"),
    }
}

/// Where the configuration is and alerts go.
struct Stage {
    folder: PathBuf,
    /// Of the demo's own, to be removed.
    temporary: Option<PathBuf>,
}

impl Stage {
    /// The repository itself, as a person would run it.
    fn here(root: &Path) -> Self {
        Self {
            folder: root.to_owned(),
            temporary: None,
        }
    }

    /// A folder of its own with a copy of the quickstart that names the service's ports.
    fn copy(root: &Path, service: &Service) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("pulse-host-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let quickstart = root.join("pulse-host.toml");
        let text = std::fs::read_to_string(&quickstart)
            .with_context(|| format!("reading {}", quickstart.display()))?;
        let text = readdress(&text, SERVICE, &service.address.to_string())?;
        let text = readdress(&text, CONTROL, &service.control.to_string())?;
        std::fs::write(folder.join("pulse-host.toml"), text)?;
        Ok(Self {
            temporary: Some(folder.clone()),
            folder,
        })
    }

    fn command(&self, root: &Path, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(["--plugins", "./plugins"]).current_dir(root);
        if let Some(folder) = &self.temporary {
            command
                .arg("--config")
                .arg(folder.join("pulse-host.toml"))
                .env("STATE_DIRECTORY", folder.join("state"));
        }
        command
    }
}

fn readdress(text: &str, (host, port): (&str, u16), to: &str) -> Result<String> {
    let from = format!("{host}:{port}");
    if !text.contains(&from) {
        bail!("pulse-host.toml does not name {from}, where the demo's service is meant to be");
    }
    Ok(text.replace(&from, to))
}

/// Builds the program and says where cargo put it.
pub fn build_host() -> Result<PathBuf> {
    let mut command = shell::cargo(&[
        "build",
        "--package",
        "pulse-host",
        "--bin",
        "pulse-host",
        "--message-format",
        "json-render-diagnostics",
    ])?;
    eprintln!("+ {}", shell::words(&command));
    executable(&shell::output(&mut command)?).context("cargo did not say where it put pulse-host")
}

fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| {
            message
                .pointer("/target/name")
                .is_some_and(|name| name == "pulse-host")
        })
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
}

fn explain(service: &Service) {
    println!(
        "
A small service answers on http://{service}/, and pulse-host checks it every second.
About {first} seconds after the first check it goes down. Then you should see, within a few seconds:

  yellow  the first check that failed
  cyan    an intervention restarted the service (POST http://{control}/restart); checks must confirm it
  green   the service is healthy again

About {next} seconds later it goes down again, and so on. The alerts are also written to {ALERTS}.
Ctrl-C ends the demo.
",
        service = service.address,
        control = service.control,
        first = FIRST_OUTAGE.as_secs(),
        next = NEXT_OUTAGE.as_secs(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_names_other_ports_and_a_quickstart_without_them_is_refused() {
        let text = "a = \"http://127.0.0.1:8080/\"\nb = \"http://127.0.0.1:8081/restart\"\n";
        let changed = readdress(text, SERVICE, "127.0.0.1:4000").unwrap();
        assert_eq!(
            changed,
            "a = \"http://127.0.0.1:4000/\"\nb = \"http://127.0.0.1:8081/restart\"\n"
        );
        assert!(readdress(&changed, SERVICE, "127.0.0.1:4000").is_err());
    }

    #[test]
    fn the_program_is_where_cargo_says() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"anyhow"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"pulse_host"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"pulse-host"},"executable":"/t/debug/pulse-host"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/pulse-host")));
        assert_eq!(executable("not JSON"), None);
    }
}
