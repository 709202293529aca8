//! One template: begun, built, looked at, run, run again, and broken.

use super::{
    Language, broken, helper,
    receiver::{Received, Receiver},
    toolchains::{self, Environment},
};
use crate::{shell, stopwatch, stopwatch::Stopwatch};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// What is tried.
pub struct Trial<'a> {
    pub program: &'a Path,
    pub language: Language,
    pub kind: &'a str,
    /// Where folders of plugins are made.
    pub folder: &'a Path,
    pub environment: &'a Environment,
}

/// A template that was built and kept all promises.
pub struct Built {
    pub folder: PathBuf,
    /// From a clean folder with warm tools.
    pub took: Duration,
}

impl Trial<'_> {
    pub fn hold(&self) -> Result<Built> {
        let name = format!("{}-{}", self.language.name(), self.kind);
        let folder = self.folder.join(&name);
        self.begin(&name, &folder)?;
        self.packages(&folder)?;
        let took = self.build(&folder)?;
        if self.language == Language::Rust {
            let mut test = Command::new("cargo");
            test.args(["test", "--quiet"]).current_dir(&folder);
            shell::run(test.envs(self.environment.iter().cloned()))?;
        }
        helper::hold(self.language, &folder, self.folder)?;
        shell::run(
            self.host(&["plugin", "inspect", "."])
                .current_dir(&folder)
                .stdout(std::process::Stdio::null()),
        )?;
        shell::run(self.host(&["plugin", "verify", "."]).current_dir(&folder))?;
        shell::run(self.host(&["plugin", "test", "."]).current_dir(&folder))?;
        let receiver = Receiver::start()?;
        self.answers(&folder, &receiver)?;
        if self.kind == "pulse" {
            self.broken(&format!("{name}-broken"), &folder, &receiver)?;
        }
        Ok(Built { folder, took })
    }

    /// A plugin of `examples/`: what `plugin new` writes, with what its author wrote over that.
    pub fn example(&self, name: &str, own: &Path) -> Result<()> {
        let folder = self.folder.join(name);
        self.begin(name, &folder)?;
        // Its cases are its own.
        std::fs::remove_dir_all(folder.join("tests"))?;
        lay_over(own, &folder)?;
        self.packages(&folder)?;
        self.build(&folder)?;
        shell::run(self.host(&["plugin", "verify", "."]).current_dir(&folder))?;
        shell::run(self.host(&["plugin", "test", "."]).current_dir(&folder))
    }

    /// What its package names, where the language has such a thing.
    fn packages(&self, folder: &Path) -> Result<()> {
        if !matches!(self.language, Language::Javascript | Language::Typescript) {
            return Ok(());
        }
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
        ]);
        shell::run(npm.current_dir(folder))
    }

    fn host(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(args);
        command
    }

    fn begin(&self, name: &str, folder: &Path) -> Result<()> {
        let new = [
            "plugin",
            "new",
            name,
            "--kind",
            self.kind,
            "--lang",
            self.language.name(),
        ];
        let said = shell::output(self.host(&new).arg("--dir").arg(folder))?;
        let readme = std::fs::read_to_string(folder.join("README.md"))?;
        for package in toolchains::packages(self.language) {
            for (whose, text) in [("plugin new", &said), ("README.md", &readme)] {
                ensure!(
                    text.contains(package),
                    "{whose} does not install {package}, which is tried here"
                );
            }
        }
        // What is there is never written over.
        let again = shell::works(self.host(&new).arg("--dir").arg(folder));
        ensure!(!again, "plugin new took a folder that was there");
        Ok(())
    }

    fn build(&self, folder: &Path) -> Result<Duration> {
        let stopwatch = Stopwatch::start();
        let mut build = Command::new("sh");
        build.arg("build.sh").current_dir(folder);
        for (name, value) in self.environment {
            build.env(name, value);
        }
        shell::run(&mut build)?;
        Ok(stopwatch.elapsed())
    }

    /// Runs it once, and returns what is said of that.
    fn once(&self, folder: &Path, url: &str) -> Result<Value> {
        let settings = json!({ "url": url }).to_string();
        let mut command = self.host(&["plugin", "run", ".", "--output", "json", "--settings", &settings]);
        command.args(["--grant", "http=@settings.url", "--grant", "networks=loopback"]);
        let output = command.current_dir(folder).output()?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "`{}` said no JSON: {}",
                shell::words(&command),
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// What it makes of the answers that it gets.
    fn answers(&self, folder: &Path, receiver: &Receiver) -> Result<()> {
        let expected: &[(u16, &str)] = match self.kind {
            "pulse" => &[(200, "healthy"), (500, "unhealthy")],
            "intervention" => &[
                (202, "done"),
                (500, "effect-unknown"),
                (303, "effect-unknown"),
                (503, "retryable"),
                (501, "permanent"),
                (404, "permanent"),
            ],
            _ => &[(200, "delivered"), (500, "retryable"), (404, "permanent")],
        };
        let mut seen = Vec::new();
        for &(status, result) in expected {
            let began = stopwatch::now_ms();
            let ran = self.once(folder, &receiver.url(status))?;
            ensure!(
                text(&ran, "result") == result,
                "HTTP {status} is no `{result}`: {ran}"
            );
            let requests = receiver.take();
            let [request] = requests.as_slice() else {
                bail!("{} requests came in one run", requests.len());
            };
            self.sent(request, began)?;
            seen.push(request.headers.get("x-check-id").cloned());
        }
        // A generator that is part of a snapshot says the same each time.
        ensure!(
            seen.first() != seen.last(),
            "the same random number twice: {seen:?}"
        );
        // An address at which nothing listens: the receiver's of a moment ago.
        let gone = Receiver::start()?.url(200);
        let ran = self.once(folder, &gone)?;
        let wanted = match self.kind {
            "pulse" => "connection-refused",
            _ => "retryable",
        };
        let found = if self.kind == "pulse" { "reason" } else { "result" };
        ensure!(text(&ran, found) == wanted, "connection refused is told as {ran}");
        Ok(())
    }

    /// What the receiver was sent.
    fn sent(&self, request: &Received, began: u128) -> Result<()> {
        let header = |name: &str| request.headers.get(name).map(String::as_str).unwrap_or_default();
        let at: u128 = header("x-check-at")
            .parse()
            .with_context(|| format!("x-check-at is `{}`", header("x-check-at")))?;
        // A clock that is part of a snapshot shows when it was built.
        ensure!(
            (began..=request.at_ms).contains(&at),
            "the plugin's clock shows {at}; it was between {began} and {}",
            request.at_ms
        );
        let id = header("x-check-id");
        ensure!(
            id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "x-check-id is `{id}`"
        );
        if self.kind == "pulse" {
            ensure!(request.method == "GET", "{}", request.method);
            return Ok(());
        }
        ensure!(request.method == "POST", "{}", request.method);
        ensure!(
            !header("idempotency-key").is_empty(),
            "there is no idempotency key"
        );
        let body: Value = serde_json::from_str(&request.body)
            .with_context(|| format!("the body is no JSON: {}", request.body))?;
        for key in ["monitor", "tenant", "incident"] {
            ensure!(!text(&body, key).is_empty(), "the body has no {key}: {body}");
        }
        if self.kind == "code" {
            let at = text(&body, "happened-at");
            ensure!(
                at.len() == "2026-11-24T06:40:00.000Z".len() && at.contains('T') && at.ends_with('Z'),
                "`happened-at` is not written as by the other templates: {body}"
            );
            ensure!(text(&body, "color") == "red", "the body has no color: {body}");
        }
        Ok(())
    }

    /// The same, with a defect in its own code.
    fn broken(&self, name: &str, whole: &Path, receiver: &Receiver) -> Result<()> {
        let folder = self.folder.join(name);
        self.begin(name, &folder)?;
        if whole.join("node_modules").exists() {
            std::os::unix::fs::symlink(whole.join("node_modules"), folder.join("node_modules"))?;
        }
        let line = broken::spoil(self.language, &folder)?;
        self.build(&folder)?;
        let ran = self.once(&folder, &receiver.url(200))?;
        broken::told(self.language, line, &ran)
    }
}

/// Copies all that is in one folder over what is in another.
fn lay_over(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("a file without a name")?);
        if path.is_dir() {
            lay_over(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
