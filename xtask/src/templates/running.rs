//! The three plugins of a language in a host that runs: put into its folder of plugins while it checks nothing yet, and
//! used by a configuration that is written behind them. The check must have a result, the repair must be begun, and the
//! alert must arrive.

use super::{KINDS, Language, receiver::Receiver};
use crate::stopwatch::Stopwatch;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// For all of it: three interpreters are compiled one after the other, on a machine that may be busy.
const WITHIN: Duration = Duration::from_secs(400);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines of the log that are told where something is missing.
const TOLD_LINES: usize = 20;

/// The host. It ends with this value.
struct Running {
    child: Child,
    log: PathBuf,
    since: Stopwatch,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(program: &Path, folder: &Path) -> Result<Self> {
        let log = folder.join("log");
        let child = Command::new(program)
            .arg("run")
            .arg("--plugins")
            .arg(folder.join("plugins"))
            .arg("--config")
            .arg(folder.join("config/pulse-host.toml"))
            .args(["--listen", "off"])
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        Ok(Self {
            child,
            log,
            since: Stopwatch::start(),
        })
    }

    fn said(&self) -> Result<String> {
        std::fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())
    }

    /// Looks again and again until nothing is missing any more.
    fn wait(&mut self, mut missing: impl FnMut(&str) -> Option<&'static str>) -> Result<()> {
        loop {
            let said = self.said()?;
            let Some(what) = missing(&said) else {
                return Ok(());
            };
            let lines: Vec<&str> = said.lines().collect();
            let last = lines
                .get(lines.len().saturating_sub(TOLD_LINES)..)
                .unwrap_or_default();
            if let Some(status) = self.child.try_wait()? {
                bail!("the host ended ({status}) before {what}:\n{}", last.join("\n"));
            }
            if self.since.elapsed() > WITHIN {
                bail!("within {WITHIN:?} {what} was missing:\n{}", last.join("\n"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Holds the plugins that were built in `work` to it.
pub fn hold(program: &Path, language: Language, work: &Path) -> Result<()> {
    let folder = work.join(format!("{}-running", language.name()));
    let (plugins, config) = (folder.join("plugins"), folder.join("config"));
    for folder in [&plugins, &config] {
        std::fs::create_dir_all(folder)?;
    }
    let host = format!("[host]\ndata-dir = {:?}\n", folder.join("data"));
    std::fs::write(config.join("pulse-host.toml"), &host)?;
    let mut running = Running::start(program, &folder)?;
    running.wait(|said| (!said.contains(" 0 plugins")).then_some("it said that it runs"))?;
    for kind in KINDS {
        let name = format!("{}-{kind}", language.name());
        put(&work.join(&name), &folder.join("next"), &plugins.join(&name))?;
    }
    let receiver = Receiver::start()?;
    let text = host + &configuration(language, &receiver);
    std::fs::write(folder.join("next.toml"), text)?;
    std::fs::rename(folder.join("next.toml"), config.join("pulse-host.toml"))?;
    let (mut repaired, mut told) = (false, false);
    running.wait(|said| {
        for request in receiver.take() {
            if request.method == "POST" {
                let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
                *if body.get("color").is_some() {
                    &mut told
                } else {
                    &mut repaired
                } = true;
            }
        }
        match (said.contains("up is up: "), repaired, told) {
            (false, ..) => Some("a result of the check"),
            (_, false, _) => Some("a request of the repair"),
            (.., false) => Some("a request of the alert"),
            _ => None,
        }
    })
}

/// What an operator copies of a plugin: its manifest and its component. All of it is there at once.
fn put(from: &Path, beside: &Path, to: &Path) -> Result<()> {
    let manifest = std::fs::read_to_string(from.join("plugin.toml"))?;
    let component = manifest
        .lines()
        .find_map(|line| line.strip_prefix("component = \"")?.split('"').next())
        .with_context(|| format!("{}/plugin.toml names no component", from.display()))?;
    std::fs::create_dir_all(beside)?;
    for file in ["plugin.toml", component] {
        std::fs::copy(from.join(file), beside.join(file)).with_context(|| file.to_owned())?;
    }
    Ok(std::fs::rename(beside, to)?)
}

fn configuration(language: Language, receiver: &Receiver) -> String {
    let name = language.name();
    let grants: String = KINDS
        .iter()
        .map(|kind| {
            format!(
                "[plugins.{name}-{kind}]\ngrants.http = [\"@settings.url\"]\ngrants.networks = [\"loopback\"]\n"
            )
        })
        .collect();
    format!(
        r#"
{grants}
[defaults]
interval = "1s"
retry-interval = "1s"
failure-threshold = 1

[notifiers.alerts]
plugin = "{name}-code"
settings = {{ url = "{told}" }}

[[monitor]]
name = "up"
pulse = {{ plugin = "{name}-pulse", settings = {{ url = "{up}" }} }}

[[monitor]]
name = "down"
notify = ["alerts"]
pulse = {{ plugin = "{name}-pulse", settings = {{ url = "{down}" }} }}
intervention = {{ plugin = "{name}-intervention", settings = {{ url = "{repaired}" }} }}
"#,
        told = receiver.url(200),
        up = receiver.url(200),
        down = receiver.url(500),
        repaired = receiver.url(202),
    )
}
